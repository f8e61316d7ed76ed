"""The pulse: shows the supervisor that the interpreter is free, while there are jobs in hand.

The dispatcher cannot: it may wait for PostgreSQL. A pulse that stops means that a job holds
the interpreter's lock, or that the process is stopped.
"""

from __future__ import annotations

import threading
import time

from .board import Board

# In seconds.
_BEAT = 0.1


class Pulse:
    """One thread, started by the first job; it rests while there is none."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._needed = threading.Event()
        self._thread: threading.Thread | None = None

    def need(self, needed: bool) -> None:
        """Whether anything is in hand, or has been asked for. Called by the dispatcher."""
        if not needed:
            self._needed.clear()
        elif not self._needed.is_set():
            self._needed.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._needed.wait()
            self._board.tick()
            time.sleep(_BEAT)
