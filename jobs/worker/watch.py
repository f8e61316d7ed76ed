"""The watch: calls back when a job's time is up. Costs nothing until a job has a time limit."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

# So many deadlines of jobs that have ended are kept before they are thrown out together.
_MOST_DEAD = 256


class Deadline:
    """One call back, unless it is disarmed before."""

    __slots__ = ("at", "call_back", "number")

    def __init__(self, at: float, number: int, call_back: Callable[[], None]) -> None:
        self.at = at
        self.number = number
        self.call_back: Callable[[], None] | None = call_back

    def __lt__(self, other: Deadline) -> bool:
        return (self.at, self.number) < (other.at, other.number)


class Watch:
    """One thread, started by the first deadline."""

    def __init__(self) -> None:
        self._deadlines: list[Deadline] = []
        self._dead = 0
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def arm(self, seconds: float, call_back: Callable[[], None]) -> Deadline:
        with self._changed:
            deadline = Deadline(time.monotonic() + seconds, next(self._numbers), call_back)
            heapq.heappush(self._deadlines, deadline)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="watch", daemon=True)
                thread.start()
                self._thread = thread
            elif self._deadlines[0] is deadline:
                self._changed.notify()
            return deadline

    def disarm(self, deadline: Deadline) -> None:
        """The job has ended; what the call back holds is let go at once."""
        deadline.call_back = None
        with self._changed:
            self._dead += 1
            if self._dead > max(_MOST_DEAD, len(self._deadlines) // 2):
                self._deadlines = [one for one in self._deadlines if one.call_back is not None]
                heapq.heapify(self._deadlines)
                self._dead = 0

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._deadlines or self._deadlines[0].at > time.monotonic():
                    left = self._deadlines[0].at - time.monotonic() if self._deadlines else None
                    # A wait for centuries is an OverflowError.
                    self._changed.wait(left if left is None else min(left, 3600.0))
                call_back = heapq.heappop(self._deadlines).call_back
            if call_back is not None:
                call_back()
