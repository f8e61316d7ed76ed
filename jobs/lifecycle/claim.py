"""Claim: queued → running, in batches; and the look that tells where jobs are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from . import arrays
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
        "handed_at",
        "id",
        "is_async",
        "is_over",
        "max_attempts",
        "metadata",
        "place",
        "queue_name",
        "revoked",
        "run_at",
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
        # Where the board says that it was started; 0 while it was not.
        self.place = 0
        # Whether its function has ended.
        self.is_over = False
        # When it came into the line, monotonic.
        self.handed_at = 0.0
        # What the board said of revocations before it was claimed.
        self.revoked = 0
        # When it was due; 0: unknown.
        self.run_at = 0.0
        self.started_at = 0.0
        self.finished_at = 0.0

    def now(self) -> float:
        """The server's time, in seconds since the epoch."""
        return time.monotonic() + self.clock


class Place(NamedTuple):
    """Where a job stands in its lane: seconds since the epoch, and its id."""

    run_at: float
    id: str


# Before every job.
START = Place(0.0, "00000000-0000-0000-0000-000000000000")


class Seen(NamedTuple):
    """What a look saw: the first job of each lane that holds any, at this server's time."""

    first: dict[Lane, Place]
    at: float


def look(connection: psycopg.Connection[Any]) -> Seen:
    """Look into every lane."""
    return _seen(connection.execute(statement("look")))


def glance(connection: psycopg.Connection[Any], since: Mapping[Lane, float]) -> Seen:
    """Look into these lanes only, each from a moment on."""
    cursor = connection.execute(
        statement("glance"),
        {
            "queues": [lane.queue_name for lane in since],
            "priorities": [lane.priority for lane in since],
            "since": arrays.of_marks(since.values()),
        },
    )
    return _seen(cursor)


def _seen(cursor: psycopg.Cursor[Any]) -> Seen:
    rows = cursor.fetchall()
    first = {Lane(row[0], row[1]): Place(row[2], row[3]) for row in rows if row[0] is not None}
    return Seen(first, rows[0][4])


class Brought(NamedTuple):
    """The jobs of a claim, and how far it has come in each of their lanes."""

    jobs: list[Claimed]
    reached: dict[Lane, Place]


class Reply:
    """A claim that was sent; `read()` tells what it brought, after the pipeline's end."""

    def __init__(self, cursor: psycopg.Cursor[Any], claim: str) -> None:
        self._cursor = cursor
        self._claim = claim

    def read(self) -> Brought:
        """Priority first, then the longest due; RETURNING itself promises no order."""
        rows = self._cursor.fetchall()
        if not rows:
            return Brought([], {})
        rows.sort(key=lambda row: (-row[10], row[11], row[0]))
        clock = rows[0][12] - time.monotonic()
        jobs = [Claimed(row, self._claim, clock) for row in rows]
        for job, row in zip(jobs, rows, strict=True):
            job.run_at = row[11]
        # The last of each lane wins.
        last = {(row[6], row[10]): row for row in rows}
        reached = {Lane(*lane): Place(row[11], row[0]) for lane, row in last.items()}
        return Brought(jobs, reached)


def claim(
    connection: psycopg.Connection[Any],
    marks: Mapping[Lane, Place],
    limit: int,
    *,
    claim_id: UUID,
    worker: str,
    worker_id: UUID,
    runner: UUID,
    set_aside: Iterable[str] = (),
) -> Reply:
    """Claim up to `limit` due jobs of the lanes that are not paused, each from its mark on, without
    those that are `set_aside`.

    Inside a pipeline, the reply can be read only after it. Whatever fails here may have
    claimed all the same: the claim's row tells, and `strays` finds it.
    """
    cursor = connection.execute(
        statement("claim"),
        {
            "queues": [lane.queue_name for lane in marks],
            "priorities": [lane.priority for lane in marks],
            "marks": arrays.of_marks([mark.run_at for mark in marks.values()]),
            "ids": arrays.of_ids([mark.id for mark in marks.values()]),
            "limit": limit,
            "claim": claim_id,
            "worker": worker,
            "worker_id": worker_id,
            "runner": runner,
            "set_aside": arrays.of_ids(set_aside),
        },
    )
    return Reply(cursor, str(claim_id))


def first_due(
    connection: psycopg.Connection[Any],
    marks: Mapping[Lane, Place],
    *,
    set_aside: Iterable[str] = (),
) -> str | None:
    """Return the id of the job that a claim of one would take; None when there is none.

    Reads only: another runner may take the job at the same moment.
    """
    row = connection.execute(
        statement("first_due"),
        {
            "queues": [lane.queue_name for lane in marks],
            "priorities": [lane.priority for lane in marks],
            "marks": arrays.of_marks([mark.run_at for mark in marks.values()]),
            "ids": arrays.of_ids([mark.id for mark in marks.values()]),
            "set_aside": arrays.of_ids(set_aside),
        },
    ).fetchone()
    return None if row is None else row[0]
