"""What a job leaves behind in its process: signal handlers, a signal mask, an alarm, a folder.

Put right before the next job, in a runner of one thread, whose tasks run in the main thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

try:
    # Without the enums that the module `signal` makes of each answer: this is the hot path.
    from _signal import getsignal, pthread_sigmask
except ImportError:
    from signal import getsignal, pthread_sigmask

Handler = Callable[[int, FrameType | None], None]

# Signals that go to every process of a terminal, or are meant for the supervisor, which decides.
IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Remains:
    """How the process was before its first job."""

    def __init__(self) -> None:
        self._folder = Path.cwd()
        self._handlers: dict[signal.Signals, Handler] = {}
        self._mask: object = set()

    def take_signals(self, on_term: Handler) -> None:
        """Set the runner's handlers. Called in the main thread, before the slots serve."""
        self._handlers = {signal.SIGTERM: on_term} | dict.fromkeys(IGNORED, _nothing)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._mask = pthread_sigmask(signal.SIG_BLOCK, ())

    def keep(self, number: signal.Signals, handler: Handler) -> None:
        """Set one more handler, which is put back after jobs that replace it."""
        self._handlers[number] = handler
        signal.signal(number, handler)

    def sweep(self) -> None:
        """Put right what the last job has changed. Never raises."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        if pthread_sigmask(signal.SIG_BLOCK, ()) != self._mask:
            pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, handler in self._handlers.items():
            if getsignal(number) is not handler:
                signal.signal(number, handler)
        # The folder may have been deleted: a deployment that removes the last release.
        with contextlib.suppress(OSError):
            try:
                is_moved = Path.cwd() != self._folder
            except FileNotFoundError:
                is_moved = self._folder.exists()
            if is_moved:
                os.chdir(self._folder)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN, which processes that a task starts would inherit."""
