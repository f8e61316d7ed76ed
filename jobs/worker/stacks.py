"""What a process was doing when it had to be killed: its threads' stacks, asked for by a signal.

Python's own handler in C answers, so it does even while a task holds the interpreter's lock.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import tempfile
import time

# Nobody uses the last of the real-time signals.
_SIGNAL = signal.SIGRTMAX if hasattr(signal, "SIGRTMAX") else signal.SIGUSR2
# In seconds: an answer takes a millisecond, and one that is stopped never answers.
_PATIENCE, _STEP = 0.2, 0.005


def new_file() -> int:
    """Where a child is to write: a file in memory, inherited by the fork."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("jobs-stacks")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def show_on_demand(file: int) -> None:
    """In the child: answer from now on."""
    faulthandler.register(_SIGNAL, file=file, all_threads=True)


def ask(pid: int, file: int) -> str:
    """The stacks of the child's threads, innermost calls first; empty if it does not answer."""
    # The offset is the child's, too.
    os.lseek(file, 0, os.SEEK_SET)
    os.ftruncate(file, 0)
    os.kill(pid, _SIGNAL)
    deadline = time.monotonic() + _PATIENCE
    size = 0
    while time.monotonic() < deadline:
        time.sleep(_STEP)
        before, size = size, os.fstat(file).st_size
        if size and size == before:
            break
    return os.pread(file, size, 0).decode(errors="replace").replace("\0", "")
