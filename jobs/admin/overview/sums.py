"""Sums of statistics. Counts stand side by side in one large integer, so that adding two rows is
one addition: a day has tens of thousands of rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jobs import histogram

# How attempts end, in the order of statistics.sql.
COUNTED = ("succeeded", "failed", "retried", "cancelled", "snoozed", "lost")
_ENDED, _BAD = ("succeeded", "failed", "cancelled"), ("failed", "retried", "lost")
# Eight bytes for each: the counts, and a histogram of waits and one of run times.
_LANES = len(COUNTED) + 2 * histogram.BUCKETS
_ZEROS = [0] * histogram.BUCKETS


class Row(NamedTuple):
    """A statistic, as far as it is shown: from when on, in seconds since the epoch."""

    starts_at: int
    queue_name: str
    task: str
    # A sample, which has nothing else; None: none.
    ready: int | None
    packed: int


def packed(counts: list[int], waits: list[int], runs: list[int]) -> int:
    try:
        return _packed(counts, waits, runs)
    except (OverflowError, TypeError):
        # SQL may have put anything there.
        return _packed(*([max(0, one or 0) for one in some] for some in (counts, waits, runs)))


def _packed(counts: list[int], waits: list[int], runs: list[int]) -> int:
    most = histogram.BUCKETS
    lanes = counts + waits[:most] + _ZEROS[len(waits) :] + runs[:most] + _ZEROS[len(runs) :]
    return int.from_bytes(array("Q", lanes).tobytes(), "little")


@dataclass(slots=True)
class Sums:
    """What some of them come to."""

    packed: int = 0
    ready: int | None = None

    def add(self, row: Row) -> None:
        self.packed += row.packed

    @property
    def counts(self) -> dict[str, int]:
        return dict(zip(COUNTED, self._lanes[: len(COUNTED)], strict=True))

    @property
    def ended(self) -> int:
        return self._sum(_ENDED)

    @property
    def attempts(self) -> int:
        counts = self.counts
        return sum(counts.values()) - counts["snoozed"]

    @property
    def bad(self) -> int:
        return self._sum(_BAD)

    def wait(self, share: float) -> float | None:
        first = len(COUNTED)
        return histogram.quantile(self._lanes[first : first + histogram.BUCKETS], share)

    def run(self, share: float) -> float | None:
        return histogram.quantile(self._lanes[len(COUNTED) + histogram.BUCKETS :], share)

    @property
    def _lanes(self) -> Sequence[int]:
        return array("Q", self.packed.to_bytes(8 * _LANES, "little"))

    def _sum(self, names: tuple[str, ...]) -> int:
        counts = self.counts
        return sum(counts[name] for name in names)
