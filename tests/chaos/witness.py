"""What attempts themselves say: when each started and ended, and whether another was alive.

A live attempt holds a lock on one byte of a file, which the kernel lets go of with its process,
however that dies. Lines go to a log, each in one write.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from jobs import Context

# Linux's struct flock: type, whence, start, length, process.
_FLOCK = "hhqqi"


class Witness:
    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._log = os.open(folder / "log", flags, 0o666)
        # Never closed: that would let go of all this process's locks.
        self._locks = os.open(folder / "locks", flags, 0o666)
        self._pid = os.getpid()
        # Locks of one process do not keep each other out.
        self._here: set[int] = set()

    @contextlib.contextmanager
    def attempt(self, number: int, context: Context) -> Iterator[None]:
        """`number` is the job's own, from 0 on."""
        holder = self._pid if number in self._here else 0
        self._here.add(number)
        if not holder:
            try:
                fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except OSError:
                holder = self._holder(number)
        self._say("overlap" if holder else "start", number, context, holder)
        try:
            yield
        finally:
            self._say("end", number, context)
            if not holder:
                self._here.discard(number)
                fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, number)

    def _holder(self, number: int) -> int:
        """The process that has the lock; -1: it has just let go of it."""
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0)
        kind, *_, pid = struct.unpack(_FLOCK, fcntl.fcntl(self._locks, fcntl.F_GETLK, asked))
        return -1 if kind == fcntl.F_UNLCK else int(pid)

    def _say(self, what: str, number: int, context: Context, holder: int = 0) -> None:
        line = f"{time.monotonic_ns()} {what} {number} {context.attempt} {self._pid} {holder}\n"
        os.write(self._log, line.encode())


_witness: Witness | None = None


def witness() -> Witness:
    """This process's own; made when it is first asked for, behind the fork."""
    global _witness
    if _witness is None or _witness._pid != os.getpid():
        _witness = Witness(Path(os.environ["CHAOS_FOLDER"]))
    return _witness
