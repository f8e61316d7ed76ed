"""What the jobs of a runner log, until it is written: while they run, and with their ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from jobs import conf, lifecycle
from jobs.execution import Log
from jobs.lifecycle import Claimed, Ended, Logged
from jobs.outcomes import Cancelled, Failed, Retried

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
        log = self._open[job] = Log(most)
        return log

    def write(self, connection: psycopg.Connection[Any], now: float) -> None:
        """Those of running jobs that have something new, now and then."""
        if not self._open or now - self._looked_at < _EVERY:
            return
        self._looked_at = now
        fresh = []
        for job, log in list(self._open.items()):
            if log.lines > log.written and now >= log.next_at:
                logged = Logged(job, log.lines, log.text)
                log.written = logged.lines
                log.next_at = now + len(logged.text) / _PACE
                fresh.append(logged)
        _write(connection, fresh)

    def end(self, connection: psycopg.Connection[Any], batch: Sequence[Ended]) -> None:
        """In the transaction that records how they ended, and before: what is to be kept, whole;
        what is not, not at all."""
        if not self._open:
            return
        kept, gone = [], []
        for ended in batch:
            log = self._open.get(ended.job)
            if log is None:
                continue
            if self._policy == "always" or isinstance(ended.outcome, Failed | Retried | Cancelled):
                kept.append(Logged(ended.job, log.lines, log.text))
            elif log.written:
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
