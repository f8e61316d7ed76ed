"""The board: what a runner shows its supervisor in shared memory, readable after its death.

Which jobs were started decides who is charged when the process dies: a job that was merely
prefetched is given back as if nothing had happened.
"""

from __future__ import annotations

import mmap
import struct
import time

_COUNTERS = ("succeeded", "failed", "retried", "cancelled", "snoozed", "released", "taken_over")
# More than a runner may ever hold unrecorded (see dispatcher.MOST_UNRECORDED).
_STARTED = 16_384
# A job's id and the end of its claim's, both as text.
_ENTRY = 36 + 8
_HEAD = 8 * (len(_COUNTERS) + 3)


class Board:
    """Written by the runner's threads under the interpreter's lock, read by the supervisor."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _HEAD + _STARTED * _ENTRY)
        # Which entries are free, and where each started job's is: of the runner alone. Taking
        # one is a single operation of a list, safe between threads without a lock.
        self._free = list(range(_STARTED))
        self._at: dict[tuple[str, str], int] = {}

    def start(self, job_id: str, claim: str) -> None:
        """Note that the job's function is about to be called."""
        index = self._at[job_id, claim] = self._free.pop()
        offset = _HEAD + index * _ENTRY
        self._memory[offset : offset + _ENTRY] = f"{job_id}{claim[-8:]}".encode()

    def end(self, job_id: str, claim: str) -> None:
        """Forget it: how it ended is recorded."""
        index = self._at.pop((job_id, claim), None)
        if index is not None:
            self._memory[_HEAD + index * _ENTRY] = 0
            self._free.append(index)

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
        self._put(len(_COUNTERS) + 2, 1)

    @property
    def has_left(self) -> bool:
        """False for a process that ended in any other way, whatever its exit code says."""
        return bool(self._get(len(_COUNTERS) + 2))

    def count(self, counts: dict[str, int], running: int) -> None:
        """Add to the counters, and show a sign of life."""
        for i, name in enumerate(_COUNTERS):
            if counts.get(name):
                self._put(i, self._get(i) + counts[name])
        self._put(len(_COUNTERS), running)
        self._put(len(_COUNTERS) + 1, time.monotonic_ns())

    def counters(self) -> dict[str, int]:
        return {name: self._get(i) for i, name in enumerate(_COUNTERS)}

    @property
    def running(self) -> int:
        return self._get(len(_COUNTERS))

    def _get(self, index: int) -> int:
        return int(struct.unpack_from("<Q", self._memory, 8 * index)[0])

    def _put(self, index: int, value: int) -> None:
        struct.pack_into("<Q", self._memory, 8 * index, value)

    def close(self) -> None:
        self._memory.close()
