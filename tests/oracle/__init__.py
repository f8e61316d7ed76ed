"""An oracle for cron lines around clock changes, which shares nothing with jobs.cron.

It looks at every minute. What it says is docs/schedules.md, word by word: a line whose hour is
`*` ticks at each moment whose wall time fits; of any other, each fitting wall time ticks at the
first moment that has it, or at the jump when there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

# Fixed hours, several hours, steps, weekdays, month ends.
LINES = (
    "0 3 * * *",
    "30 2 * * *",
    "0 0 * * *",
    "59 23 * * *",
    "15,45 1,2,3 * * *",
    "0 */2 * * *",
    "30 1 * * 1-5",
    "0 2 * * 0",
    "0 0 1 * *",
    "30 23 L * *",
    "0 * * * *",
    "*/5 * * * *",
    "7-59/20 * * * *",
)
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# Ticks are compared so far around a change; wall times are looked at a day further.
_AROUND = timedelta(hours=30)
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def changes(name: str) -> Iterator[datetime]:
    """The moments at which the zone's offset changes: found by looking, not by asking."""
    zone, step = ZoneInfo(name), 6 * _HOUR
    moment, offset = FIRST, FIRST.astimezone(zone).utcoffset()
    while moment < LAST:
        following = moment + step
        if following.astimezone(zone).utcoffset() != offset:
            while moment.astimezone(zone).utcoffset() == offset:
                moment += _MINUTE
            offset = moment.astimezone(zone).utcoffset()
            yield moment
        else:
            moment = following


def window(change: datetime) -> tuple[datetime, datetime]:
    return change - _AROUND, change + _AROUND


def expected(line: str, name: str, change: datetime) -> list[datetime]:
    """The documented ticks in the window around a change, in order."""
    start, end = window(change)
    moments = _walls(name, start - _DAY, end + _DAY)
    if line.split()[1] == "*":
        ticks = {moment for moment, wall in moments if _fits(line, wall)}
    else:
        first: dict[datetime, datetime] = {}
        for moment, wall in moments:
            first.setdefault(wall, moment)
        ticks = set()
        wall, last = moments[0][1], moments[-1][1]
        while wall <= last:
            if _fits(line, wall):
                ticks.add(first[wall] if wall in first else _jump(moments, wall))
            wall += _MINUTE
    return sorted(tick for tick in ticks if start < tick <= end)


def _jump(moments: tuple[tuple[datetime, datetime], ...], wall: datetime) -> datetime:
    """The moment at which the clocks pass over a wall time that does not exist."""
    for (_, before), (moment, after) in pairwise(moments):
        if before < wall < after:
            return moment
    raise AssertionError(f"{wall} exists, or lies outside")


@cache
def _of_last(name: str, start: datetime, end: datetime) -> tuple[tuple[datetime, datetime], ...]:
    zone, found, moment = ZoneInfo(name), [], start
    while moment <= end:
        found.append((moment, moment.astimezone(zone).replace(tzinfo=None)))
        moment += _MINUTE
    return tuple(found)


def _walls(name: str, start: datetime, end: datetime) -> tuple[tuple[datetime, datetime], ...]:
    if _of_last.cache_info().currsize > 1:
        _of_last.cache_clear()
    return _of_last(name, start, end)


@cache
def _parsed(line: str) -> tuple[frozenset[int] | None, ...]:
    fields = zip(line.split(), _RANGES, strict=True)
    return tuple(None if text == "*" else _values(text, *bounds) for text, bounds in fields)


def _values(text: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span == "L":
            found.add(-1)
            continue
        first, _, last = (span if span != "*" else f"{low}-{high}").partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return frozenset(found)


def _fits(line: str, wall: datetime) -> bool:
    minute, hour, day, month, weekday = _parsed(line)
    if not _is_in(minute, wall.minute) or not _is_in(hour, wall.hour):
        return False
    if not _is_in(month, wall.month):
        return False
    is_last = (wall + _DAY).month != wall.month
    by_day = _is_in(day, wall.day) or (day is not None and -1 in day and is_last)
    by_weekday = _is_in(weekday, wall.isoweekday() % 7)
    if day is not None and weekday is not None:
        return by_day or by_weekday
    return by_day and by_weekday


def _is_in(values: frozenset[int] | None, value: int) -> bool:
    return values is None or value in values
