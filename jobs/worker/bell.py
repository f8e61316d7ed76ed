"""The bell: wakes a sleeping thread, from another thread or another process."""

from __future__ import annotations

import os
import select
from enum import Enum


class Call(bytes, Enum):
    """Why the bell was rung."""

    WAKE = b"w"
    STOP = b"s"


class Bell:
    """A pipe. Rings are remembered until the next `wait`, and never block the ringer."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def ring(self, call: Call = Call.WAKE) -> None:
        try:
            os.write(self._writer, call.value)
        except BlockingIOError:
            # 64 KiB of unheard rings: whoever listens has enough to wake up for.
            pass
        except OSError:
            # The other end is closed: nobody is there to be woken.
            pass

    def wait(
        self, timeout: float, lifeline: int | None = None, other: int | None = None
    ) -> tuple[set[Call], bool]:
        """Sleep until a ring, `timeout` seconds, the end of the lifeline's other side, or until
        the other file can be read.

        Returns the calls heard, and whether the lifeline's other side is gone.
        """
        listened = [one for one in (self._reader, lifeline, other) if one is not None]
        readable, _, _ = select.select(listened, [], [], max(0.0, timeout))
        calls = (
            {Call(bytes([byte])) for byte in self._heard()} if self._reader in readable else set()
        )
        return calls, lifeline in readable

    def _heard(self) -> bytes:
        try:
            return os.read(self._reader, 65_536)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)
