"""Rules that are no cron lines, and what all rules have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jobs.errors import InvalidSchedule

from .lines import Cron
from .sun import Solar

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Every:
    """An interval of elapsed time, in phase with `anchor`, so that restarts do not shift it."""

    interval: timedelta
    anchor: datetime = EPOCH

    def __post_init__(self) -> None:
        if self.interval < timedelta(seconds=1):
            raise InvalidSchedule(f"an interval of {self.interval} is shorter than one second")
        if self.anchor.tzinfo is None:
            raise InvalidSchedule("an anchor needs a time zone")

    def next_after(self, moment: datetime, default_zone: str) -> datetime | None:
        """The first tick strictly after `moment`; None when the calendar ends before it."""
        passed = (moment - self.anchor) // self.interval
        try:
            return self.anchor + (passed + 1) * self.interval
        except OverflowError:
            return None


@dataclass(frozen=True)
class At:
    """One moment, once."""

    moment: datetime

    def __post_init__(self) -> None:
        if self.moment.tzinfo is None:
            raise InvalidSchedule("a moment needs a time zone")

    def next_after(self, moment: datetime, default_zone: str) -> datetime | None:
        """The moment itself, while it lies ahead."""
        return self.moment if self.moment > moment else None


# Each has `next_after(moment, default_zone)`: its first tick strictly after a moment.
Rule = Cron | Every | At | Solar
