"""The board: what a runner shows its supervisor in shared memory, readable after its death.

Which jobs were started decides who is charged when the process dies: a job that was merely
prefetched is given back as if nothing had happened.
"""

from __future__ import annotations

import mmap
import time

_COUNTERS = ("succeeded", "failed", "retried", "cancelled", "snoozed", "released", "taken_over")
# More than a runner may ever hold unrecorded (see dispatcher.MOST_UNRECORDED).
_STARTED = 16_384
# A job's id and the end of its claim's, both as text.
_ENTRY = 36 + 8
# Words of eight bytes, behind the counters.
_RUNNING, _WAITING, _TICKED, _LEFT, _REVOKED = range(len(_COUNTERS), len(_COUNTERS) + 5)
_HEAD = 8 * (_REVOKED + 1)


class Board:
    """Written by the runner's threads under the interpreter's lock, read by the supervisor."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _HEAD + _STARTED * _ENTRY)
        self._words = memoryview(self._memory)[:_HEAD].cast("Q")
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
        self._memory[place] = 0
        self._free.append(place)

    def started(self, claim: str) -> set[str]:
        """The ids of the claim's jobs that were started and are not recorded."""
        end = claim[-8:].encode()
        found = set()
        for offset in range(_HEAD, len(self._memory), _ENTRY):
            entry = self._memory[offset : offset + _ENTRY]
            if entry[0] and entry[36:] == end:
                found.add(entry[:36].decode())
        return found

    def leave(self) -> None:
        """Say that the runner ends because it was told to, with everything recorded."""
        self._put(_LEFT, 1)

    @property
    def has_left(self) -> bool:
        """False for a process that ended in any other way, whatever its exit code says."""
        return bool(self._get(_LEFT))

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

    def close(self) -> None:
        self._words.release()
        self._memory.close()
