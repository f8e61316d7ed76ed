"""Cron lines. croniter parses them and proposes wall times; turning wall times into moments is
ours (docs/schedules.md holds the rules).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache, partial
from typing import Literal

from croniter import CroniterBadDateError, CroniterError, croniter

from jobs.errors import InvalidSchedule

from .moments import first_moment, next_change
from .zones import zone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# How many values each field may have.
_SIZES = (60, 24, 31, 12, 7, 60)
_RANGE = re.compile(r"^(\w+)-(\w+)(?:/\d+)?$")
# Names of months and of days of the week, by the place of their field.
_NAMES = {
    3: {name: str(i) for i, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)},
    4: {name: str(i) for i, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])},
}  # fmt: skip
# No zone has ever jumped by more than a day (Samoa skipped 30 December 2011).
_LONGEST_JUMP = timedelta(hours=25)

Days = Literal["either", "both"]


@dataclass(frozen=True)
class Cron:
    """A cron line, read as wall time in a zone.

    A wall time in the gap of a clock change ticks once, at the jump; one that exists twice
    ticks the first time. A line for every hour (`*` as its hour) goes on in elapsed time
    through both. `days`: where day of month and day of week are both restricted, "either" is
    enough, as in Vixie's cron, or "both" have to fit, as in Celery.
    """

    line: str
    timezone: str | None = None
    days: Days = "either"

    def __post_init__(self) -> None:
        if not isinstance(self.line, str):
            raise InvalidSchedule(f"a cron line is a text; this is {self.line!r}")
        if self.days not in ("either", "both"):
            raise InvalidSchedule(
                f"cron line {self.line!r}: days is {self.days!r}; it must be 'either' or 'both'"
            )
        _is_for_every_hour(self.line, self.days)
        if self.timezone is not None:
            if not isinstance(self.timezone, str):
                raise InvalidSchedule(f"a time zone is a name; this is {self.timezone!r}")
            zone(self.timezone)

    def next_after(self, moment: datetime, default_zone: str) -> datetime | None:
        """The first tick strictly after `moment`, in UTC; None when no year has one."""
        tz = zone(self.timezone or default_zone)
        moment = moment.astimezone(UTC)
        try:
            if _is_for_every_hour(self.line, self.days):
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
            tick = first_moment(wall, tz)
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
            change = next_change(moment, tick, tz)
            if change is None:
                return tick
            # A tick at the very moment of the change counts, hence just before it.
            if self._matches((change.astimezone(tz)).replace(tzinfo=None)):
                return change
            moment = change

    def _walls(self, start: datetime) -> Iterator[datetime]:
        while True:
            # Set anew each time: others may ask while this one is not exhausted.
            self._parsed.set_current(start, force=True)
            start = self._parsed.get_next(datetime)
            yield start

    def _matches(self, wall: datetime) -> bool:
        return next(self._walls(wall - timedelta(seconds=1))) == wall

    @property
    def _parsed(self) -> croniter:
        return _parse(self.line, self.days, threading.get_ident())


# Parsing takes longer than all the rest, and thousands of schedules share few lines. What was
# parsed also holds where its search stands, so each thread has its own.
@lru_cache(maxsize=10_000)
def _parse(line: str, days: Days, thread: int) -> croniter:
    return croniter(_for_croniter(line), _EPOCH.replace(tzinfo=None), day_or=days == "either")


@lru_cache(maxsize=10_000)
def _is_for_every_hour(line: str, days: Days) -> bool:
    """Whether the line's hour is `*`; InvalidSchedule for a line that makes no sense."""
    _check_words(line)
    try:
        hours = croniter.expand(_for_croniter(line))[0][1]
        _parse(line, days, threading.get_ident()).get_next(datetime)
    except CroniterBadDateError:
        raise InvalidSchedule(f"cron line {line!r} names no date at all") from None
    except (CroniterError, ValueError, TypeError, AttributeError) as error:
        raise InvalidSchedule(f"cron line {line!r} cannot be read: {error}") from None
    return len(set(hours)) == 24 or hours == ["*"]


def _for_croniter(line: str) -> str:
    """The line with ranges of one value (`9-9`, `mon-1`) as that value: croniter takes such a range
    for the whole field."""
    return " ".join(
        ",".join(_RANGE.sub(partial(_one_value, field), part) for part in word.split(","))
        for field, word in enumerate(line.split())
    )


def _one_value(field: int, found: re.Match[str]) -> str:
    first, last = (_NAMES.get(field, {}).get(end.lower(), end) for end in found.group(1, 2))
    if not (first.isdigit() and last.isdigit()):
        return found.group()
    # In a week, 7 is Sunday, too; but 0-7 is the whole week.
    is_one = int(first) == int(last) or (field == 4 and (int(first), int(last)) == (7, 0))
    return first if is_one else found.group()


def _check_words(line: str) -> None:
    """croniter's own words for these are hard to read."""
    words = line.split()
    if len(line) > 255:
        raise InvalidSchedule(f"a cron line of {len(line)} characters; it may have 255")
    for word, size in zip(words, _SIZES, strict=False):
        for step in re.findall(r"/(\d+)", word):
            if int(step) > size:
                raise InvalidSchedule(
                    f"cron line {line!r}: the step {step} never comes about in {word!r}, whose "
                    f"field has {size} values"
                )
    for letter, about in (("R", "a random moment"), ("H", "a hashed moment")):
        if any(word.upper().startswith(letter) for word in words):
            raise InvalidSchedule(
                f"cron line {line!r}: {letter} ({about}) would be drawn anew by each process; "
                "write the moment out, or give the schedule a jitter"
            )
    if line.startswith("@"):
        if line not in NICKNAMES:
            raise InvalidSchedule(
                f"cron line {line!r} is no nickname; there are {', '.join(NICKNAMES)}"
            )
    elif len(words) not in (5, 6):
        raise InvalidSchedule(
            f"cron line {line!r} has {len(words)} fields; it needs five (minute, hour, day of "
            "month, month, day of week), or six with the seconds last"
        )
