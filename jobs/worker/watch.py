"""The watch: calls back when a job's time is up. Costs nothing until a job has a time limit."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Watch:
    """One thread, started by the first deadline. Deadlines are not disarmed: whoever is
    called back looks whether the job still runs."""

    def __init__(self) -> None:
        self._deadlines: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def arm(self, seconds: float, call_back: Callable[[], None]) -> None:
        with self._changed:
            entry = (time.monotonic() + seconds, next(self._numbers), call_back)
            heapq.heappush(self._deadlines, entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                self._thread.start()
            elif self._deadlines[0] is entry:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._deadlines or self._deadlines[0][0] > time.monotonic():
                    left = self._deadlines[0][0] - time.monotonic() if self._deadlines else None
                    self._changed.wait(left)
                _, _, call_back = heapq.heappop(self._deadlines)
            call_back()
