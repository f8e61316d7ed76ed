"""When a schedule ticks: rules, and the next moment each names. Pure: no clock, no database.

croniter parses cron lines and proposes wall times; turning wall times into moments is ours,
because a wall time may exist twice or not at all (docs/schedules.md holds the rules).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, CroniterError, croniter

from .errors import InvalidSchedule

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NICKNAMES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
# No zone has ever jumped by more than a day (Samoa skipped 30 December 2011).
_LONGEST_JUMP = timedelta(hours=25)


@dataclass(frozen=True)
class Cron:
    """A cron line, read as wall time in a zone.

    A wall time in the gap of a clock change ticks once, at the jump; one that exists twice
    ticks the first time. A line for every hour (`* ` as its hour) goes on in elapsed time
    through both.
    """

    line: str
    timezone: str | None = None
    _wildcard_hour: bool = field(init=False, repr=False, compare=False, default=False)

    def __post_init__(self) -> None:
        words = self.line.split()
        if any(word.upper().startswith("R") for word in words):
            raise InvalidSchedule(
                f"cron line {self.line!r}: R (a random moment) would be drawn anew by each "
                "process; write the moment out"
            )
        self._check_fields(words)
        try:
            hours = croniter.expand(self.line)[0][1]
            croniter(self.line, _EPOCH.replace(tzinfo=None)).get_next()
        except CroniterBadDateError:
            raise InvalidSchedule(f"cron line {self.line!r} names no date at all") from None
        except (CroniterError, ValueError, TypeError, AttributeError) as error:
            raise InvalidSchedule(f"cron line {self.line!r} cannot be read: {error}") from None
        object.__setattr__(self, "_wildcard_hour", len(set(hours)) == 24 or hours == ["*"])
        if self.timezone is not None:
            zone(self.timezone)

    def _check_fields(self, words: list[str]) -> None:
        """croniter's own words for these are hard to read."""
        if self.line.startswith("@"):
            if self.line not in _NICKNAMES:
                raise InvalidSchedule(
                    f"cron line {self.line!r} is no nickname; there are {', '.join(_NICKNAMES)}"
                )
        elif len(words) not in (5, 6):
            raise InvalidSchedule(
                f"cron line {self.line!r} has {len(words)} fields; it needs five (minute, hour, "
                "day of month, month, day of week), or six with the seconds last"
            )

    def next_after(self, moment: datetime, default_zone: str) -> datetime | None:
        """The first tick strictly after `moment`, in UTC; None when no year has one."""
        tz = zone(self.timezone or default_zone)
        moment = moment.astimezone(UTC)
        try:
            if self._wildcard_hour:
                return self._next_elapsed(moment, tz)
            return self._next_wall(moment, tz)
        except CroniterBadDateError:
            return None

    def _next_wall(self, moment: datetime, tz: tzinfo) -> datetime:
        # Near a clock change, wall times before the current one may still name later
        # moments (a gap moves them to the jump), so the search starts further back.
        past = moment - _LONGEST_JUMP
        quiet = past.astimezone(tz).utcoffset() == moment.astimezone(tz).utcoffset()
        start = moment if quiet else past
        for wall in self._walls(start.astimezone(tz).replace(tzinfo=None)):
            tick = _first_moment(wall, tz)
            if tick > moment:
                return tick
        raise AssertionError("croniter ended without a date")

    def _next_elapsed(self, moment: datetime, tz: tzinfo) -> datetime:
        # With one offset, wall time and elapsed time are the same line; where the offset
        # changes before the tick, go on from the change with the new one.
        while True:
            offset = moment.astimezone(tz).utcoffset() or timedelta(0)
            wall = next(self._walls((moment + offset).replace(tzinfo=None)))
            tick = (wall - offset).replace(tzinfo=UTC)
            change = _next_change(moment, tick, tz)
            if change is None:
                return tick
            # A tick at the very moment of the change counts, hence just before it.
            if self._matches((change.astimezone(tz)).replace(tzinfo=None)):
                return change
            moment = change

    def _walls(self, start: datetime) -> Iterator[datetime]:
        walls = croniter(self.line, start, ret_type=datetime)
        while True:
            yield walls.get_next(datetime)

    def _matches(self, wall: datetime) -> bool:
        return next(self._walls(wall - timedelta(seconds=1))) == wall


@dataclass(frozen=True)
class Every:
    """An interval of elapsed time, in phase with `anchor`, so that restarts do not shift it."""

    interval: timedelta
    anchor: datetime = _EPOCH

    def __post_init__(self) -> None:
        if self.interval < timedelta(seconds=1):
            raise InvalidSchedule(f"an interval of {self.interval} is shorter than one second")
        if self.anchor.tzinfo is None:
            raise InvalidSchedule("an anchor needs a time zone")

    def next_after(self, moment: datetime, default_zone: str) -> datetime | None:
        """The first tick strictly after `moment`."""
        passed = (moment - self.anchor) // self.interval
        return self.anchor + (passed + 1) * self.interval


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


Rule = Cron | Every | At


def cron(line: str, *, timezone: str | None = None) -> Cron:
    """A cron line, in the given zone or else in the site's TIME_ZONE."""
    return Cron(line, timezone)


def every(
    *, hours: float = 0, minutes: float = 0, seconds: float = 0, anchor: datetime = _EPOCH
) -> Every:
    """An interval of elapsed time, counted from `anchor`."""
    return Every(timedelta(hours=hours, minutes=minutes, seconds=seconds), anchor)


def at(moment: datetime) -> At:
    """One moment, once."""
    return At(moment)


def as_rule(value: object) -> Rule:
    """A rule from what `schedule=` takes: a rule, a cron line, a timedelta or a datetime."""
    if isinstance(value, Cron | Every | At):
        return value
    if isinstance(value, str):
        return Cron(value)
    if isinstance(value, timedelta):
        return Every(value)
    if isinstance(value, datetime):
        return At(value)
    raise InvalidSchedule(
        f"{value!r} is no schedule; use cron(…), every(…), at(…), a cron line, a timedelta "
        "or a datetime"
    )


def zone(name: str) -> ZoneInfo:
    """The IANA zone of that name, or InvalidSchedule."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidSchedule(f"there is no time zone {name!r}") from None


def latest_tick(
    rule: Rule, *, first: datetime, now: datetime, default_zone: str
) -> tuple[datetime, datetime | None]:
    """The last tick in [first, now], where `first` is one, and the tick that follows it."""
    # After a long rest of a frequent schedule, walking every missed tick would take as
    # long as the rest had many: a day's worth is walked at most.
    tick = first
    if now - first > timedelta(days=1) and not isinstance(rule, At):
        recent = rule.next_after(now - timedelta(days=1), default_zone)
        if recent is not None and first < recent <= now:
            tick = recent
    while True:
        following = rule.next_after(tick, default_zone)
        if following is None or following > now:
            return tick, following
        tick = following


def _first_moment(wall: datetime, tz: tzinfo) -> datetime:
    """The moment of a wall time: the first of two, or the jump when there is none."""
    moment = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    if moment.astimezone(tz).replace(tzinfo=None) == wall:
        return moment
    # In a gap, fold=1 reads the wall time with the offset after the jump, which lies
    # before it on the line of moments: the jump is between the two.
    earlier = wall.replace(tzinfo=tz, fold=1).astimezone(UTC)
    change = _next_change(earlier, moment, tz)
    assert change is not None
    return change


def _next_change(start: datetime, end: datetime, tz: tzinfo) -> datetime | None:
    """The first moment in (start, end] with another UTC offset than `start` has, if any."""
    before = start.astimezone(tz).utcoffset()
    # Two changes may cancel out over a long span; none are closer than a few hours.
    step, low = timedelta(hours=12), start.replace(microsecond=0)
    while low < end:
        high = min(low + step, end)
        if high.astimezone(tz).utcoffset() != before:
            while high - low > timedelta(seconds=1):
                middle = (low + (high - low) / 2).replace(microsecond=0)
                if middle.astimezone(tz).utcoffset() == before:
                    low = middle
                else:
                    high = middle
            return high
        low = high
    return None
