"""What a worker tells the person who started it: few lines, each worth reading."""

from __future__ import annotations

import time
from collections.abc import Callable

from .options import Options

# A line about the pace at most so often, in seconds, and only when jobs ran.
_EVERY = 10.0


class Console:
    """Totals are of the living runners, as given, and of the dead, as added."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._gone: dict[str, int] = {}
        self._last = 0
        self._last_at = time.monotonic()
        self._began_at = time.monotonic()

    def say(self, line: str) -> None:
        self._write(line)

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

    def add(self, counters: dict[str, int]) -> None:
        for name, count in counters.items():
            self._gone[name] = self._gone.get(name, 0) + count

    def pace(self, living: dict[str, int]) -> None:
        now = time.monotonic()
        passed = now - self._last_at
        if passed < _EVERY:
            return
        totals = self._totals(living)
        done = sum(totals.get(name, 0) for name in ("succeeded", "failed", "retried", "cancelled"))
        if done != self._last:
            pace = (done - self._last) / passed
            self.say(f"{pace:,.{0 if pace >= 10 else 1}f} jobs/s · {_told(totals)}")
        self._last, self._last_at = done, now

    def end(self, living: dict[str, int]) -> None:
        totals = self._totals(living)
        self.say(f"stopped after {time.monotonic() - self._began_at:.1f} s · {_told(totals)}")

    def _totals(self, living: dict[str, int]) -> dict[str, int]:
        return {
            name: living.get(name, 0) + self._gone.get(name, 0) for name in {*living, *self._gone}
        }


def _told(totals: dict[str, int]) -> str:
    names = (
        "succeeded", "failed", "retried", "cancelled", "snoozed", "taken_over", "given_back",
    )  # fmt: skip
    parts = [f"{totals[name]:,} {name.replace('_', ' ')}" for name in names if totals.get(name)]
    return ", ".join(parts) or "no jobs"
