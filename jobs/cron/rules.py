"""Rules that are no cron lines, and what all rules have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jobs.bounds import FIRST_MOMENT, LAST_MOMENT
from jobs.errors import InvalidSchedule

from .lines import Cron
from .sun import Solar

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=36_525)


def is_sound(moment: datetime) -> bool:
    """Whether it has a time zone, and lies in a year that is safe to count from."""
    return moment.tzinfo is not None and FIRST_MOMENT <= moment <= LAST_MOMENT


@dataclass(frozen=True)
class Every:
    """An interval of elapsed time, in phase with `anchor`, so that restarts do not shift it."""

    interval: timedelta
    anchor: datetime = EPOCH

    def __post_init__(self) -> None:
        if not isinstance(self.interval, timedelta) or not isinstance(self.anchor, datetime):
            raise InvalidSchedule(
                f"an interval is a timedelta, its anchor a datetime; these are {self.interval!r} "
                f"and {self.anchor!r}"
            )
        if self.interval < timedelta(seconds=1):
            raise InvalidSchedule(f"an interval of {self.interval} is shorter than one second")
        if self.interval > LONGEST:
            raise InvalidSchedule(f"an interval of {self.interval} is longer than a century")
        _check_moment(self.anchor, "an anchor")

    def next_after(self, moment: datetime, default_zone: str) -> datetime | None:
        """The first tick strictly after `moment`; None when the calendar ends before it."""
        # In one zone's own time, Python's sums would be of wall time.
        anchor = self.anchor.astimezone(UTC)
        passed = (moment.astimezone(UTC) - anchor) // self.interval
        try:
            return anchor + (passed + 1) * self.interval
        except OverflowError:
            return None


@dataclass(frozen=True)
class At:
    """One moment, once."""

    moment: datetime

    def __post_init__(self) -> None:
        if not isinstance(self.moment, datetime):
            raise InvalidSchedule(f"a moment is a datetime; this is {self.moment!r}")
        _check_moment(self.moment, "a moment")

    def next_after(self, moment: datetime, default_zone: str) -> datetime | None:
        """The moment itself, while it lies ahead."""
        return self.moment if self.moment > moment else None


def _check_moment(moment: datetime, what: str) -> None:
    if moment.tzinfo is None:
        raise InvalidSchedule(f"{what} needs a time zone")
    if not is_sound(moment):
        years = f"{FIRST_MOMENT.year} to {LAST_MOMENT.year}"
        raise InvalidSchedule(f"{what} must lie in the years {years}; this is {moment}")


# Each has `next_after(moment, default_zone)`: its first tick strictly after a moment.
Rule = Cron | Every | At | Solar
