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
_RUNNING, _WAITING, _TICKED, _LEFT, _REVOKED, _LIMITED, _BACK_BY, _CLAIM, _HIGHEST = range(
    len(_COUNTERS), len(_COUNTERS) + 9
)
_HEAD = 8 * (_HIGHEST + 1)
# Behind the entries, of each: by when it has to have ended, when it started, what becomes of it;
# and what is known of it.
_LIMITS = _HEAD + _STARTED * _ENTRY
_FLAGS = _LIMITS + 3 * 8 * _STARTED
# Its interruption has reached it, or it is what keeps others from being reached; its function
# has ended.
_REACHED, _OVER = 1, 2
# What becomes of a job that has to be killed, other than another attempt in so many seconds.
FAILED, CANCELLED = -1.0, -2.0
# How a runner that was told to end, or has decided to, has left.
_DONE, _RECYCLED = 1, 2


class Overdue(NamedTuple):
    """A job that has not ended by the last moment that it had."""

    id: str
    # The end of its claim's id.
    claim_end: str
    # On the server's clock, in seconds since the epoch; 0: unknown.
    started_at: float
    # FAILED, CANCELLED, or the seconds until another attempt.
    verdict: float
    # Whether it was interrupted and goes on; else it may be another that keeps it from ending.
    is_reached: bool


class Board:
    """Written by the runner's threads under the interpreter's lock, read by the supervisor.

    A job's place is a number from 1 on.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _FLAGS + _STARTED)
        self._words = memoryview(self._memory)[:_HEAD].cast("Q")
        limits = memoryview(self._memory)[_LIMITS:_FLAGS].cast("d")
        self._end_by = limits[:_STARTED]
        self._started_at = limits[_STARTED : 2 * _STARTED]
        self._verdicts = limits[2 * _STARTED :]
        self._flags = memoryview(self._memory)[_FLAGS:]
        # Where the entries are free, the lowest last: of the runner alone. Taking one is a single
        # operation of a list, safe between threads without a lock.
        self._free = list(range(_STARTED, 0, -1))

    def start(self, job_id: str, claim: str) -> int:
        """Note that the job's function is about to be called; returns its place."""
        place = self._free.pop()
        if place > self._words[_HIGHEST]:
            self._words[_HIGHEST] = place
        self._flags[place - 1] = 0
        offset = _HEAD + (place - 1) * _ENTRY
        self._memory[offset : offset + _ENTRY] = f"{job_id}{claim[-8:]}".encode()
        return place

    def over(self, place: int) -> None:
        """Note that its function has ended, and lift its limit."""
        self._flags[place - 1] |= _OVER
        if self._words[_LIMITED]:
            self._end_by[place - 1] = 0.0

    def end(self, place: int) -> None:
        """Forget what is noted there: how it ended is recorded."""
        if self._words[_LIMITED]:
            self._end_by[place - 1] = self._started_at[place - 1] = 0.0
        self._memory[_HEAD + (place - 1) * _ENTRY] = 0
        self._free.append(place)

    def started(self, claim: str) -> set[str]:
        """The ids of the claim's jobs that were started and are not recorded."""
        end = claim[-8:]
        return {id_ for _, id_, claim_end in self._entries() if claim_end == end}

    def _entries(self) -> list[tuple[int, str, str]]:
        """(place, job's id, end of the claim's)"""
        found = []
        for place in range(1, self._words[_HIGHEST] + 1):
            entry = self._entry(place)
            if entry[0] != "\0":
                found.append((place, entry[:36], entry[36:]))
        return found

    def _entry(self, place: int) -> str:
        offset = _HEAD + (place - 1) * _ENTRY
        return self._memory[offset : offset + _ENTRY].decode("latin-1")

    # Limits.

    def limit(self, place: int, end_by: float, started_at: float, verdict: float) -> None:
        """The job there is to be killed if it has not ended by then (monotonic). An earlier
        limit stays, and the verdict is the newer one's."""
        index = place - 1
        self._verdicts[index], self._started_at[index] = verdict, started_at
        before = self._end_by[index]
        self._end_by[index] = min(before, end_by) if before else end_by
        self._put(_LIMITED, 1)

    def reached(self, place: int) -> None:
        """Its interruption was delivered; or it is what keeps others' from being delivered."""
        self._flags[place - 1] |= _REACHED

    def next_limit(self) -> float | None:
        """The first moment (monotonic) at which a job has to have ended; None: there is none."""
        if not self._words[_LIMITED]:
            return None
        limits = self._end_by[: self._words[_HIGHEST]]
        return min((moment for moment in limits if moment), default=None)

    def overdue(self, now: float) -> list[Overdue]:
        """The jobs that should have ended."""
        if not self._words[_LIMITED]:
            return []
        found = []
        for index, moment in enumerate(self._end_by[: self._words[_HIGHEST]]):
            if 0.0 < moment <= now:
                one = self._overdue(index + 1, self._verdicts[index])
                # Whatever was read belongs together if nothing has changed meanwhile.
                if self._end_by[index] == moment and one.id[0] != "\0":
                    found.append(one)
        return found

    def doomed(self, job_id: str) -> Overdue | None:
        """That job, as one to be cancelled; None when it does not run here any more."""
        for place, id_, _ in self._entries():
            if id_ == job_id and not self._flags[place - 1] & _OVER:
                return self._overdue(place, CANCELLED)
        return None

    def _overdue(self, place: int, verdict: float) -> Overdue:
        entry, index = self._entry(place), place - 1
        is_reached = bool(self._flags[index] & _REACHED)
        return Overdue(entry[:36], entry[36:], self._started_at[index], verdict, is_reached)

    def count_running(self) -> int:
        """How many jobs were started and have not ended."""
        return sum(not self._flags[place - 1] & _OVER for place, _, _ in self._entries())

    # The runner as a whole.

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

    def claimed_in(self, seconds: float) -> None:
        """A claim took so long, with what was recorded in the same commit."""
        last = self._get(_CLAIM)
        now = int(seconds * 1e9)
        # The mean of some ten.
        self._put(_CLAIM, now if not last else last + (now - last) // 10)

    @property
    def claim_time(self) -> float:
        """How long claims take of late, in seconds; 0: there was none."""
        return self._get(_CLAIM) / 1e9

    def tick(self) -> None:
        """Show a sign of life."""
        self._put(_TICKED, time.monotonic_ns())

    def counters(self) -> dict[str, int]:
        return {name: self._get(i) for i, name in enumerate(_COUNTERS)}

    @property
    def in_hand(self) -> int:
        """What it runs and what it has in line, when it was last said."""
        return self._get(_RUNNING) + self.waiting

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
