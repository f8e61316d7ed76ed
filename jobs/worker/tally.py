"""The tally: what became of this runner's jobs, counted in memory and written every few seconds.

A row is a minute's, of one queue and task, and this runner's own. It is written whole each time, so
writing it twice does no harm; a runner that dies takes some seconds of its counts with it.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import frexp
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from jobs.histogram import trimmed
from jobs.lifecycle import Ended, is_refused, note_refusal, write_apart
from jobs.lifecycle.statements import read_all
from jobs.models.statistic import COUNTED, MINUTE
from jobs.outcomes import (
    Cancelled,
    Committed,
    Failed,
    Released,
    Retried,
    Snoozed,
    Succeeded,
    TakenOver,
)

# All in seconds. Written at most so often, and after an error so much later.
_EVERY, _PATIENCE = 5.0, 60.0
# A minute's rows are folded after FOLD_AFTER; what could not be written by then is let go.
FOLD_AFTER = 300.0
_LATEST = FOLD_AFTER - 60.0
# More than a duration's bucket can be: what is written is cut.
_PLACES = 128

_WRITE = read_all(Path(__file__).parent)["tally"]


class Cell:
    """A queue's and a task's, of one minute."""

    __slots__ = ("counts", "is_new", "runs", "waits")

    def __init__(self) -> None:
        self.counts = Counter(dict.fromkeys(COUNTED, 0))
        self.waits = [0] * _PLACES
        self.runs = [0] * _PLACES
        # Whether it is to be written.
        self.is_new = True


# How an outcome is called.
NAMES = {
    Succeeded: "succeeded",
    Committed: "succeeded",
    Failed: "failed",
    Retried: "retried",
    Cancelled: "cancelled",
    Snoozed: "snoozed",
    Released: "released",
    TakenOver: "taken_over",
}
Cells = defaultdict[tuple[str, str], Cell]


class Tally:
    def __init__(self, runner: UUID) -> None:
        self._runner = runner
        # By the minute, in seconds since the epoch on the server's clock.
        self._minutes: dict[int, Cells] = {}
        self._write_at = 0.0
        # Add to time.monotonic() for the server's time; None: not known yet.
        self._clock: float | None = None

    def add(self, batch: Sequence[Ended]) -> Counter[str]:
        """Count what has ended; returns how many by their outcome's name."""
        names: Counter[str] = Counter()
        cells: Cells = {}  # type: ignore[assignment]
        minute = -1.0
        for job, outcome in batch:
            name = NAMES[outcome.__class__]
            names[name] += 1
            if not job.started_at or name == "taken_over":
                continue
            if job.finished_at // MINUTE != minute:
                minute = job.finished_at // MINUTE
                self._clock = job.clock
                cells = self._cells(job.finished_at)
            cell = cells[job.queue_name, job.task]
            cell.is_new = True
            cell.counts[name] += 1
            # As histogram.bucket has it, without a call: this is the hot path.
            waited = (job.started_at - job.run_at) * 1e6
            took = (job.finished_at - job.started_at) * 1e6
            cell.waits[frexp(waited * waited + 1.0)[1]] += 1
            cell.runs[frexp(took * took + 1.0)[1]] += 1
        return names

    def count(self, queue_name: str, task: str, name: str) -> None:
        """One that ended just now; nobody knows how long it took."""
        cell = self._cells(self._now())[queue_name, task]
        cell.counts[name] += 1
        cell.is_new = True

    def _now(self) -> float:
        """The server's time, as far as it is known here."""
        return time.time() if self._clock is None else time.monotonic() + self._clock

    def _cells(self, moment: float) -> Cells:
        """Where what ends at that moment is counted: in the present minute, what could not be
        recorded for so long that its own is as good as folded."""
        now = self._now()
        if now - moment > _LATEST - MINUTE:
            moment = now
        minute = int(moment // MINUTE) * MINUTE
        found = self._minutes.get(minute)
        if found is None:
            found = self._minutes[minute] = defaultdict(Cell)
        return found

    def is_due(self, now: float) -> bool:
        return bool(self._minutes) and now >= self._write_at

    def write(self, connection: psycopg.Connection[Any], now: float) -> None:
        """Write what has changed; `now` is monotonic. After an error it is tried again later, and
        what is too old by then is let go."""
        self._write_at = now + _PATIENCE
        rows = [
            (minute, *key, cell)
            for minute, cells in self._minutes.items()
            for key, cell in cells.items()
            if cell.is_new
        ]
        try:
            if rows:
                self._write(connection, rows)
            self._write_at = now + _EVERY
        finally:
            # Whole, until nothing can be added to it any more.
            oldest = self._now() - FOLD_AFTER
            self._minutes = {
                minute: cells for minute, cells in self._minutes.items() if minute > oldest
            }

    def _write(
        self, connection: psycopg.Connection[Any], rows: Sequence[tuple[int, str, str, Cell]]
    ) -> None:
        try:
            self._write_rows(connection, rows)
        except Exception as error:
            if not is_refused(error, connection):
                raise
            # One cell that is refused costs no other.
            write_apart(
                connection,
                rows,
                lambda part: self._write_rows(connection, part),
                lambda row, error: self._refused(connection, row, error),
            )

    def _write_rows(
        self, connection: psycopg.Connection[Any], rows: Sequence[tuple[int, str, str, Cell]]
    ) -> None:
        written = connection.execute(_WRITE, self._parameters(rows)).fetchone()
        assert written is not None
        self._clock = written[0] - time.monotonic()
        for _, _, _, cell in rows:
            cell.is_new = False

    def _refused(
        self,
        connection: psycopg.Connection[Any],
        row: tuple[int, str, str, Cell],
        error: Exception,
    ) -> None:
        # Counted on in memory; written again with the next change.
        row[3].is_new = False
        note_refusal(connection, "statistic", row[2], error, by=str(self._runner))

    def _parameters(self, rows: Sequence[tuple[int, str, str, Cell]]) -> dict[str, Any]:
        cells = [row[3] for row in rows]
        return {
            "runner": self._runner,
            "minutes": [float(row[0]) for row in rows],
            "queues": [row[1] for row in rows],
            "tasks": [row[2] for row in rows],
            "waits": [_array(cell.waits) for cell in cells],
            "runs": [_array(cell.runs) for cell in cells],
            **{name: [cell.counts[name] for cell in cells] for name in COUNTED},
        }


def _array(counts: list[int]) -> str:
    return "{" + ",".join(map(str, trimmed(counts))) + "}"
