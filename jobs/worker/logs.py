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

    def __init__(self) -> None:
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
        try:
            _write(connection, fresh)
        except psycopg.Error as error:
            if lifecycle.is_gone(error):
                raise
            logger.warning("logs of running jobs: %s", str(error).strip())

    def end(self, connection: psycopg.Connection[Any], batch: Sequence[Ended]) -> None:
        """Before it is recorded how they ended: what is to be kept, whole; what is not, not at all.
        Whatever is refused costs a log, and no outcome."""
        if not self._open:
            return
        try:
            self._end(connection, batch)
        except psycopg.Error as error:
            if lifecycle.is_gone(error):
                raise
            logger.warning("logs of jobs that ended: %s", str(error).strip())

    def _end(self, connection: psycopg.Connection[Any], batch: Sequence[Ended]) -> None:
        kept, gone = [], []
        for ended in batch:
            log = self._open.get(ended.job)
            if log is None:
                continue
            if self._policy == "always" or isinstance(ended.outcome, Failed | Retried | Cancelled):
                kept.append(Logged(ended.job, log.lines, log.text))
            elif log.written and not isinstance(ended.outcome, TakenOver):
                gone.append(ended.job)
        _write(connection, kept)
        if gone:
            lifecycle.forget_logs(connection, gone)

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
