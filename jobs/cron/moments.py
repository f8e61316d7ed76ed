"""From wall time to moments: a wall time may exist twice, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo


def first_moment(wall: datetime, tz: tzinfo) -> datetime:
    """The moment of a wall time: the first of two, or the jump when there is none."""
    moment = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    if moment.astimezone(tz).replace(tzinfo=None) == wall:
        return moment
    # In a gap, fold=1 reads the wall time with the offset after the jump, which lies
    # before it on the line of moments: the jump is between the two.
    earlier = wall.replace(tzinfo=tz, fold=1).astimezone(UTC)
    change = next_change(earlier, moment, tz)
    assert change is not None
    return change


def next_change(start: datetime, end: datetime, tz: tzinfo) -> datetime | None:
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
