"""How many jobs a runner should ask for, and from which lanes. Pure: no clock, no database."""

from __future__ import annotations

from collections.abc import Iterable

from jobs.lifecycle import Lane

# A claim brings what the slots will start within about this long, in seconds…
AHEAD = 0.05
# …and at most so many at once: beyond, larger batches gain little and cost other workers.
MOST_CLAIMED = 500
# One claim's worth runs while the next is under way.
_LONGEST_LINE = 2 * MOST_CLAIMED
# How much the newest batch weighs in the measured run time.
_WEIGHT = 0.3


class Demand:
    """The measured run time of plain functions, and which lanes hold async ones."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._mean: float | None = None
        self._async_queues: set[str] = set()

    def ran(self, seconds: float, jobs: int) -> None:
        """So many plain functions took so long in all. Longer ones count at once, lest the next
        stand behind them, unless it may have been the machine; shorter ones by and by."""
        mean = seconds / jobs
        if self._mean is None or (mean > self._mean and seconds > AHEAD):
            self._mean = mean
        else:
            self._mean += _WEIGHT * (mean - self._mean)

    def stood_still(self, seconds: float) -> None:
        """The line did not move for so long: what runs is no short job."""
        self._mean = max(self._mean or 0.0, seconds)

    @property
    def prefetch(self) -> int:
        """How many plain functions to have in line, behind those that the slots run."""
        if self._mean is None:
            return 0
        # Rounded down for each slot: nobody stands behind a long job, and the last few do not
        # stand in one runner's line while another is idle.
        each = int(AHEAD / max(self._mean, 1e-6))
        return min(_LONGEST_LINE, self._threads * each)

    def saw(self, queue_name: str, *, only_async: bool) -> None:
        """What the last claim from a queue brought."""
        if only_async:
            self._async_queues.add(queue_name)
        else:
            self._async_queues.discard(queue_name)

    @property
    def knows_async(self) -> bool:
        """Whether any queue held only async tasks of late."""
        return bool(self._async_queues)

    def split(self, lanes: Iterable[Lane]) -> tuple[list[Lane], list[Lane]]:
        """The lanes for the thread slots, and those that held only async tasks of late."""
        plain: list[Lane] = []
        asynchronous: list[Lane] = []
        for lane in lanes:
            (asynchronous if lane.queue_name in self._async_queues else plain).append(lane)
        return plain, asynchronous
