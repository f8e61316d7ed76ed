"""What the jobs of a runner log, until it is written: while they run, and with their ends."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import psycopg

from jobs import conf, lifecycle
from jobs.execution import Log
from jobs.lifecycle import Claimed, Ended, Logged
from jobs.outcomes import Cancelled, Failed, Retried, TakenOver

logger = logging.getLogger("jobs")

# While a job runs, its log is written at most so often, in seconds, and a long one more seldom:
# so many characters in a second.
_EVERY, _PACE = 1.0, 16_000
# One statement writes so many characters, or a little more.
_MOST = 2_000_000


class Logs:
    """Nothing is in here, and nothing is paid, of jobs that do not log."""

    def __init__(self, name: str) -> None:
        # Of the runner.
        self._name = name
        self._policy = conf.settings().keep_log
        self._open: dict[Claimed, Log] = {}
        self._looked_at = 0.0

    def of(self, job: Claimed, most: int) -> Log:
        """The log of a job that has none. Called by the slots."""
        log = Log(most)
        if job.is_over:
            # What it has left behind still logs: nobody waits for that any more.
            return log
        # Two of its threads may begin at once.
        return self._open.setdefault(job, log)

    def write(self, connection: psycopg.Connection[Any], now: float) -> None:
        """Those of running jobs that have something new, now and then."""
        if not self._open or now - self._looked_at < _EVERY:
            return
        self._looked_at = now
        fresh = []
        for job, log in list(self._open.items()):
            if not job.is_over and log.lines > log.written and now >= log.next_at:
                logged = Logged(job, log.lines, log.text)
                log.written = logged.lines
                log.next_at = now + len(logged.text) / _PACE
                fresh.append(logged)
        self._try(connection, fresh, [])

    def end(self, connection: psycopg.Connection[Any], batch: Sequence[Ended]) -> None:
        """Before it is recorded how they ended: what is to be kept, whole; what is not, not at all.
        Whatever is refused costs a log, and no outcome."""
        if not self._open:
            return
        kept, gone = [], []
        for ended in batch:
            log = self._open.get(ended.job)
            if log is None:
                continue
            if self._policy == "always" or isinstance(ended.outcome, Failed | Retried | Cancelled):
                kept.append(Logged(ended.job, log.lines, log.text))
            elif log.written and not isinstance(ended.outcome, TakenOver):
                gone.append(ended.job)
        self._try(connection, kept, gone)

    def _try(
        self, connection: psycopg.Connection[Any], kept: list[Logged], gone: list[Claimed]
    ) -> None:
        """Write and delete; what is refused costs one log. Raises if the connection is lost."""
        try:
            _write(connection, kept)
            if gone:
                lifecycle.forget_logs(connection, gone)
        except Exception as error:
            if lifecycle.is_gone(error, connection):
                raise
            if not lifecycle.is_refused(error, connection):
                logger.warning("logs of jobs: %s", lifecycle.describe(error))
                return
            self._try_apart(connection, kept, gone)

    def _try_apart(
        self, connection: psycopg.Connection[Any], kept: list[Logged], gone: list[Claimed]
    ) -> None:
        def refused(job: Claimed, error: Exception) -> None:
            lifecycle.note_refusal(connection, "log", job.id, error, by=self._name)

        lifecycle.write_apart(
            connection,
            kept,
            lambda part: _write(connection, part),
            lambda one, error: refused(one.job, error),
        )
        if gone:
            lifecycle.write_apart(
                connection, gone, lambda part: lifecycle.forget_logs(connection, part), refused
            )

    def forget(self, batch: Sequence[Ended]) -> None:
        """It is written how they ended."""
        if self._open:
            for ended in batch:
                self._open.pop(ended.job, None)


def _write(connection: psycopg.Connection[Any], logged: Sequence[Logged]) -> None:
    part: list[Logged] = []
    size = 0
    for one in logged:
        part.append(one)
        size += len(one.text)
        if size > _MOST:
            lifecycle.write_logs(connection, part)
            part, size = [], 0
    if part:
        lifecycle.write_logs(connection, part)
