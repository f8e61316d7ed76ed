"""Pruning: what has ended long ago is deleted, a little at a time, by each worker's supervisor.

Each task may keep its jobs for another while, and the row does not say which: so a walk over the
key, every now and then, asks the definitions.
"""

from __future__ import annotations

import logging
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from jobs import conf, ids, lifecycle
from jobs.tasks import retention_of, shortest_retention

logger = logging.getLogger("jobs")

# So many rows of a walk at a time: some milliseconds.
_PART = 500
# All in seconds. So long at a time, so that heartbeats come in time…
_BUSY = 0.1
# …and a first walk so soon, give or take a half.
_FIRST = 60.0
# Of those that cannot be deleted, so many of a part are found one by one; then the rest stays.
_MOST_REFUSED = 20


class Walk:
    """One walk over the jobs that may be old enough.

    Ids are in the order of enqueuing: from the oldest to those that are too young. Behind them,
    from tomorrow's ids on, stand jobs with random ids, which SQL may have given them.
    """

    def __init__(self, shortest: timedelta) -> None:
        self._after = lifecycle.FIRST
        self._before = str(ids.first_of(shortest))
        self._is_behind = False
        # Of the part at hand, and of all, what cannot be deleted.
        self._refused_here = 0
        self.refused = 0
        self.pruned = 0
        self.is_over = False

    def step(self, connection: psycopg.Connection[Any], *, dry: bool = False) -> None:
        """Look at some, and delete those whose time has come (`dry`: count them)."""
        found = lifecycle.walk(connection, self._after, before=self._before, limit=_PART)
        old = [job.id for job in found if _is_old(job)]
        self._refused_here = 0
        if dry:
            self.pruned += len(old)
        elif old:
            self._prune(connection, old)
        if len(found) == _PART:
            self._after = found[-1].id
        elif not self._is_behind:
            self._is_behind = True
            tomorrow = datetime.now(UTC) + timedelta(days=1)
            self._after, self._before = str(ids.first_at(tomorrow)), lifecycle.LAST
        else:
            self.is_over = True

    def _prune(self, connection: psycopg.Connection[Any], jobs: list[str]) -> None:
        if self._refused_here >= _MOST_REFUSED:
            self.refused += len(jobs)
            return
        try:
            self.pruned += lifecycle.prune(connection, jobs)
        except Exception as error:
            if not lifecycle.is_refused(error, connection):
                raise
            # A row or a trigger of the site's holds one of them: halve until it is alone.
            if len(jobs) > 1:
                middle = len(jobs) // 2
                self._prune(connection, jobs[:middle])
                self._prune(connection, jobs[middle:])
                return
            if not self.refused:
                logger.warning(
                    "job %s is old and cannot be deleted: %s; keep a job's id in a UUIDField, or a "
                    "foreign key with db_constraint=False",
                    jobs[0],
                    lifecycle.describe(error),
                )
            lifecycle.note_refusal(
                connection, "pruning", jobs[0], error, by="pruning", is_logged=False
            )
            self._refused_here += 1
            self.refused += 1


def _is_old(job: lifecycle.Walked) -> bool:
    if job.ended_ago is None:
        return False
    retention = retention_of(job.task)
    return retention is not None and job.ended_ago > retention.total_seconds()


class Pruner:
    """A supervisor's part: walks now and then, for moments."""

    def __init__(self) -> None:
        self._every = conf.settings().prune_interval.total_seconds()
        self._walk: Walk | None = None
        self._next_at = time.monotonic() + _jittered(min(_FIRST, self._every))

    def step(self, connection: psycopg.Connection[Any]) -> None:
        now = time.monotonic()
        if self._walk is None:
            if now < self._next_at:
                return
            self._next_at = now + _jittered(self._every)
            shortest = shortest_retention()
            if shortest is None:
                return
            self._walk = Walk(shortest)
        try:
            while not self._walk.is_over and time.monotonic() - now < _BUSY:
                self._walk.step(connection)
        except psycopg.Error:
            raise
        except Exception:
            # Whatever the site's own code may raise, the worker's supervisor lives on.
            logger.exception("pruning is given up until the next time")
            self._walk = None
            return
        if self._walk.is_over:
            if self._walk.pruned:
                logger.info("%d jobs that had ended long ago are deleted", self._walk.pruned)
            if self._walk.refused:
                logger.warning("%d old jobs could not be deleted", self._walk.refused)
            self._walk = None


def _jittered(seconds: float) -> float:
    return seconds * (0.5 + random.random())  # noqa: S311
