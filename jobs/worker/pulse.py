"""The pulse: shows the supervisor that the interpreter is free, often while jobs are in hand.

The dispatcher cannot: it may wait for PostgreSQL. A pulse that stops means that a job holds
the interpreter's lock, or that the process is stopped.
"""

from __future__ import annotations

import threading
import time

from .board import Board

# Both in seconds, with jobs in hand and without.
_BEAT, _IDLE_BEAT = 0.1, 1.0


class Pulse:
    """One thread."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._needed = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="pulse", daemon=True).start()

    def need(self, needed: bool) -> None:
        """Whether anything is in hand, or has been asked for. Called by the dispatcher."""
        if not needed:
            self._needed.clear()
        elif not self._needed.is_set():
            self._needed.set()

    def _run(self) -> None:
        while True:
            self._board.tick()
            if self._needed.wait(_IDLE_BEAT):
                time.sleep(_BEAT)
