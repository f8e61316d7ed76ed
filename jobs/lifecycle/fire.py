"""Fire: a schedule's tick moves forward, and its jobs are queued, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from jobs import conf

from .insert import Draft
from .statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A job of a tick. `draft` names the schedule and the tick; `arguments` is JSON."""

    id: UUID
    draft: Draft
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What becomes of one schedule, as it was when its row had this version (its xmin)."""

    id: int
    version: str
    # The newest tick that this is about; None: it is only planned.
    tick: datetime | None
    following: datetime | None
    firings: tuple[Firing, ...] = ()
    skips: int = 0
    skipped_tick: datetime | None = None
    because: str | None = None
    # Jobs of earlier ticks that are to give way to these.
    cancel: tuple[str, ...] = ()


def fire(connection: psycopg.Connection[Any], moves: Sequence[Move]) -> set[int]:
    """Make these moves; returns the schedules that have moved.

    The others have changed since they were read, or are held by another beat.
    """
    firings = [firing for move in moves for firing in move.firings]
    drafts = [firing.draft for firing in firings]
    settings = conf.settings()
    parameters = {
        "ids": [move.id for move in moves],
        "versions": [move.version for move in moves],
        "ticks": [move.tick for move in moves],
        "followings": [move.following for move in moves],
        "runs": [len(move.firings) for move in moves],
        "last_jobs": [move.firings[-1].id if move.firings else None for move in moves],
        "skips": [move.skips for move in moves],
        "skipped_ticks": [move.skipped_tick for move in moves],
        "becauses": [move.because for move in moves],
        "job_ids": [firing.id for firing in firings],
        "schedules": [draft.schedule_id for draft in drafts],
        "job_ticks": [draft.tick for draft in drafts],
        "tasks": [draft.task for draft in drafts],
        "queues": [draft.queue_name for draft in drafts],
        "priorities": [draft.priority for draft in drafts],
        "arguments": [firing.arguments for firing in firings],
        "metadatas": [draft.metadata for draft in drafts],
        "delays": [draft.delay for draft in drafts],
        "expires": [draft.expires_after for draft in drafts],
        "timeouts": [draft.timeout for draft in drafts],
        "max_attempts": [draft.max_attempts for draft in drafts],
        "max_losses": [draft.max_losses for draft in drafts],
        "notify": settings.listen,
        "horizon": settings.poll_interval.total_seconds(),
    }
    row = connection.execute(statement("fire"), parameters).fetchone()
    assert row is not None
    return set(row[0])
