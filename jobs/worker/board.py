"""The board: what a runner shows its supervisor in shared memory, readable after its death.

Which jobs were started decides who is charged when the process dies: a job that was merely
prefetched is given back as if nothing had happened. Which have to end by when is there, too,
since whoever holds the interpreter's lock lets nobody of the runner itself look at a clock.
"""

from __future__ import annotations

import mmap
import time
from typing import NamedTuple

_COUNTERS = ("succeeded", "failed", "retried", "cancelled", "snoozed", "released", "taken_over")
# More than a runner may ever hold unrecorded (see dispatcher.MOST_UNRECORDED).
_STARTED = 16_384
# A job's id and the end of its claim's, both as text.
_ENTRY = 36 + 8
# Words of eight bytes, behind the counters.
_RUNNING, _WAITING, _TICKED, _LEFT, _REVOKED, _LIMITED, _BACK_BY = range(
    len(_COUNTERS), len(_COUNTERS) + 7
)
_HEAD = 8 * (_BACK_BY + 1)
# Behind the entries, of each: by when it has to have ended, when it started, what becomes of it.
_LIMITS = _HEAD + _STARTED * _ENTRY
# What becomes of a job that has to be killed, other than another attempt in so many seconds.
FAILED, CANCELLED = -1.0, -2.0
# How a runner that was told to end, or has decided to, has left.
_DONE, _RECYCLED = 1, 2


class Overdue(NamedTuple):
    """A job that has not ended by the last moment that it had."""

    id: str
    # The end of its claim's id.
    claim_end: str
    # On the server's clock, in seconds since the epoch.
    started_at: float
    # FAILED, CANCELLED, or the seconds until another attempt.
    verdict: float


class Board:
    """Written by the runner's threads under the interpreter's lock, read by the supervisor."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _LIMITS + 3 * 8 * _STARTED)
        self._words = memoryview(self._memory)[:_HEAD].cast("Q")
        limits = memoryview(self._memory)[_LIMITS:].cast("d")
        self._end_by = limits[:_STARTED]
        self._started_at = limits[_STARTED : 2 * _STARTED]
        self._verdicts = limits[2 * _STARTED :]
        # Where the entries are free: of the runner alone. Taking one is a single operation of a
        # list, safe between threads without a lock.
        self._free = [_HEAD + i * _ENTRY for i in range(_STARTED)]

    def start(self, job_id: str, claim: str) -> int:
        """Note that the job's function is about to be called; returns where it is noted."""
        place = self._free.pop()
        self._memory[place : place + _ENTRY] = f"{job_id}{claim[-8:]}".encode()
        return place

    def end(self, place: int) -> None:
        """Forget what is noted there: how it ended is recorded."""
        if self._words[_LIMITED]:
            self.lift(place)
        self._memory[place] = 0
        self._free.append(place)

    def started(self, claim: str) -> set[str]:
        """The ids of the claim's jobs that were started and are not recorded."""
        end = claim[-8:].encode()
        found = set()
        for offset in range(_HEAD, _LIMITS, _ENTRY):
            entry = self._memory[offset : offset + _ENTRY]
            if entry[0] and entry[36:] == end:
                found.add(entry[:36].decode())
        return found

    def limit(self, place: int, end_by: float, started_at: float, verdict: float) -> None:
        """The job there is to be killed if it has not ended by then (monotonic). An earlier
        limit stays, and the verdict is the newer one's."""
        index = (place - _HEAD) // _ENTRY
        self._verdicts[index], self._started_at[index] = verdict, started_at
        before = self._end_by[index]
        self._end_by[index] = min(before, end_by) if before else end_by
        self._put(_LIMITED, 1)

    def lift(self, place: int) -> None:
        """The job has ended."""
        self._end_by[(place - _HEAD) // _ENTRY] = 0.0

    def next_limit(self) -> float | None:
        """The first moment (monotonic) at which a job has to have ended; None: there is none."""
        if not self._words[_LIMITED]:
            return None
        return min((moment for moment in self._end_by if moment), default=None)

    def overdue(self, now: float) -> list[Overdue]:
        """The jobs that should have ended."""
        found = []
        for index, moment in enumerate(self._end_by):
            if 0.0 < moment <= now:
                found.append(self._overdue(_HEAD + index * _ENTRY, self._verdicts[index]))
        return found

    def doomed(self, job_id: str) -> Overdue | None:
        """That job, as one to be cancelled; None when it does not run here."""
        wanted = job_id.encode()
        for offset in range(_HEAD, _LIMITS, _ENTRY):
            if self._memory[offset : offset + 36] == wanted:
                return self._overdue(offset, CANCELLED)
        return None

    def _overdue(self, offset: int, verdict: float) -> Overdue:
        entry = self._memory[offset : offset + _ENTRY].decode("latin-1")
        started_at = self._started_at[(offset - _HEAD) // _ENTRY]
        return Overdue(entry[:36], entry[36:], started_at, verdict)

    def leave(self, *, recycled: bool = False) -> None:
        """Say that the runner ends with everything recorded, because it was told to or, being
        `recycled`, to let a new one take its place."""
        self._put(_LEFT, _RECYCLED if recycled else _DONE)

    @property
    def has_left(self) -> bool:
        """False for a process that ended in any other way, whatever its exit code says."""
        return bool(self._get(_LEFT))

    @property
    def is_recycled(self) -> bool:
        return self._get(_LEFT) == _RECYCLED

    def expect(self, seconds: float) -> None:
        """The dispatcher will show itself again in so long at the latest, if all is well."""
        self._put(_BACK_BY, time.monotonic_ns() + int(seconds * 1e9))

    @property
    def back_by(self) -> float:
        """When the dispatcher should have shown itself, on the clock that all processes share."""
        return self._get(_BACK_BY) / 1e9

    def revoke(self) -> None:
        """Tell the runner that what it holds and has not started is given back. The supervisor
        writes it, and nothing else here."""
        self._put(_REVOKED, self.revoked + 1)

    @property
    def revoked(self) -> int:
        """How often; a job may start only if it was claimed after the last time."""
        return self._words[_REVOKED]

    def add(self, counts: dict[str, int]) -> None:
        """Add to the counters."""
        for i, name in enumerate(_COUNTERS):
            if counts.get(name):
                self._put(i, self._get(i) + counts[name])

    def hold(self, running: int, waiting: int) -> None:
        """Say what is in hand: jobs that run, and jobs in line or asked for."""
        self._put(_RUNNING, running)
        self._put(_WAITING, waiting)
        self.tick()

    def tick(self) -> None:
        """Show a sign of life."""
        self._put(_TICKED, time.monotonic_ns())

    def counters(self) -> dict[str, int]:
        return {name: self._get(i) for i, name in enumerate(_COUNTERS)}

    @property
    def running(self) -> int:
        return self._get(_RUNNING)

    @property
    def in_hand(self) -> int:
        """What it runs and what it has in line, when it was last said."""
        return self.running + self.waiting

    @property
    def waiting(self) -> int:
        """How many jobs stood in line, or were asked for, when it was last said."""
        return self._get(_WAITING)

    @property
    def ticked_at(self) -> float:
        """The last sign of life, on the clock that all processes share."""
        return self._get(_TICKED) / 1e9

    def _get(self, index: int) -> int:
        return self._words[index]

    def _put(self, index: int, value: int) -> None:
        self._words[index] = value
