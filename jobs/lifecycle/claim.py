"""Claim: queued → running, in batches; and the look that tells where jobs are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from .statements import statement


class Lane(NamedTuple):
    """A queue and a priority: one range of the claim's index."""

    queue_name: str
    priority: int


class Claimed:
    """A claimed job, as the worker carries it: texts where the hot path builds nothing.

    `started_at` and `finished_at` are on the server's clock, in seconds since the epoch:
    the claim's own moment there, plus what this process measured since.
    """

    __slots__ = (
        "arguments",
        "attempt",
        "claim",
        "clock",
        "expires_at",
        "failures",
        "finished_at",
        "id",
        "is_async",
        "max_attempts",
        "metadata",
        "queue_name",
        "started_at",
        "task",
        "timeout",
    )

    def __init__(self, row: Sequence[Any], claim: str, clock: float) -> None:
        (
            self.id,
            self.task,
            self.arguments,
            self.attempt,
            self.failures,
            self.max_attempts,
            self.queue_name,
            self.metadata,
            self.timeout,
            self.expires_at,
        ) = row[:10]
        self.claim = claim
        # Add to time.monotonic() for the server's time.
        self.clock = clock
        self.is_async = False
        self.started_at = 0.0
        self.finished_at = 0.0

    def now(self) -> float:
        """The server's time, in seconds since the epoch."""
        return time.monotonic() + self.clock


def look(connection: psycopg.Connection[Any]) -> dict[Lane, float]:
    """The lanes that hold queued jobs, each with the seconds until its first job is due."""
    rows = connection.execute(statement("lanes")).fetchall()
    return {Lane(queue_name, priority): due_in for queue_name, priority, due_in in rows}


class Reply:
    """A claim that was sent; `jobs()` reads what it brought, after the pipeline's end."""

    def __init__(self, cursor: psycopg.Cursor[Any], claim: str) -> None:
        self._cursor = cursor
        self._claim = claim

    def jobs(self) -> list[Claimed]:
        """Priority first, then the longest due; RETURNING itself promises no order."""
        rows = self._cursor.fetchall()
        if not rows:
            return []
        rows.sort(key=lambda row: (-row[10], row[11], row[0]))
        clock = rows[0][12] - time.monotonic()
        return [Claimed(row, self._claim, clock) for row in rows]


def claim(
    connection: psycopg.Connection[Any],
    lanes: Sequence[Lane],
    limit: int,
    *,
    claim_id: UUID,
    worker: str,
    worker_id: UUID,
    runner: UUID,
) -> Reply:
    """Claim up to `limit` due jobs of the lanes that are not paused.

    Inside a pipeline, the reply can be read only after it. Whatever fails here may have
    claimed all the same: the claim's row tells, and `strays` finds it.
    """
    cursor = connection.execute(
        statement("claim"),
        {
            "queues": [lane.queue_name for lane in lanes],
            "priorities": [lane.priority for lane in lanes],
            "limit": limit,
            "claim": claim_id,
            "worker": worker,
            "worker_id": worker_id,
            "runner": runner,
        },
    )
    return Reply(cursor, str(claim_id))
