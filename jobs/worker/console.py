"""What a worker tells the person who started it: few lines, each worth reading."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable

from .account import ENDED
from .options import Options

# A line about the pace at most so often, in seconds, and only when jobs ran.
_EVERY = 10.0


def _discard(line: str) -> None:
    """After the reader is gone, nothing is written."""


class Console:
    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._last = 0
        self._last_at = time.monotonic()
        self._began_at = time.monotonic()

    def say(self, line: str) -> None:
        """Write a line. It may be lost: a closed pipe, a full disk or a terminal that does not
        know a character must not end a worker."""
        try:
            self._write(line)
        except UnicodeEncodeError:
            with contextlib.suppress(OSError, ValueError):
                self._write(line.encode("ascii", "replace").decode())
        except (OSError, ValueError):
            self._write = _discard

    def begin(self, options: Options) -> None:
        queues = "all queues" if options.queues is None else f"queues {', '.join(options.queues)}"
        if options.excluded_queues:
            queues += f" except {', '.join(options.excluded_queues)}"
        processes = str(options.processes)
        if options.autoscale is not None:
            processes = f"{options.autoscale[0]} to {options.autoscale[1]}"
        slots = f"{processes} × {options.threads} for functions"
        slots += f", {processes} × {options.coroutines} for coroutines"
        self.say(f"worker {options.name} serves {queues}; slots: {slots}")
        if options.beat:
            self.say("It serves the schedules, too.")
        self.say("Stop it with Ctrl-C or SIGTERM: running jobs finish first.")

    def stopping(self, options: Options) -> None:
        seconds = options.grace_period.total_seconds()
        grace = "may finish" if options.drain else f"have {seconds:g} s to finish"
        self.say(f"stopping: running jobs {grace}; once more to stop at once")

    def pace(self, totals: Counter[str]) -> None:
        now = time.monotonic()
        passed = now - self._last_at
        if passed < _EVERY:
            return
        done = sum(totals[name] for name in ENDED)
        if done != self._last:
            pace = (done - self._last) / passed
            self.say(f"{pace:,.{0 if pace >= 10 else 1}f} jobs/s · {_told(totals)}")
        self._last, self._last_at = done, now

    def end(self, totals: Counter[str]) -> None:
        self.say(f"stopped after {time.monotonic() - self._began_at:.1f} s · {_told(totals)}")


def _told(totals: Counter[str]) -> str:
    names = (*ENDED, "taken_over", "given_back")
    parts = [f"{totals[name]:,} {name.replace('_', ' ')}" for name in names if totals.get(name)]
    return ", ".join(parts) or "no jobs"
