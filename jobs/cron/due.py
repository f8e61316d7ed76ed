"""Which ticks of a schedule are to be fired now, after however long a rest."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from .rules import Rule

CatchUp = Literal["latest", "none", "all"]
CATCH_UP: tuple[CatchUp, ...] = ("latest", "none", "all")
# With catch_up="none", a tick may be so late and still be on time.
_ON_TIME = timedelta(minutes=1)
_INSTANT = timedelta(microseconds=1)
# Why a tick is not fired.
LATE = "late"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a schedule says of ticks that were missed, and where it begins and ends."""

    catch_up: CatchUp = "latest"
    # With "all": so many at most, the newest.
    catch_up_limit: int = 100
    # A tick that is later than this is not fired any more.
    grace: timedelta | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done: `fire`, oldest first, none of what is `late`, and go on `following`."""

    fire: tuple[datetime, ...]
    late: tuple[datetime, ...]
    # The newest tick that this is about.
    last: datetime
    following: datetime | None


def first_after(rule: Rule, policy: Policy, moment: datetime, default_zone: str) -> datetime | None:
    """The first tick strictly after `moment` between the schedule's start and its end."""
    if policy.starts_at is not None and policy.starts_at > moment:
        # A tick at the very start counts.
        moment = policy.starts_at - _INSTANT
    return _before_the_end(rule.next_after(moment, default_zone), policy)


def due(
    rule: Rule,
    policy: Policy,
    *,
    first: datetime,
    now: datetime,
    default_zone: str,
) -> Due:
    """What to do with the ticks in [first, now], of which `first` is one."""
    count = policy.catch_up_limit if policy.catch_up == "all" else 1
    end = now if policy.ends_at is None else min(now, policy.ends_at)
    ticks, following = _newest(rule, first, max(first, end), count, default_zone)
    grace = policy.grace
    if grace is None and policy.catch_up == "none":
        grace = _ON_TIME
    late = [tick for tick in ticks if grace is not None and now - tick > grace]
    return Due(
        fire=tuple(ticks[len(late) :]),
        late=tuple(late),
        last=ticks[-1],
        following=_before_the_end(following, policy),
    )


def _newest(
    rule: Rule, first: datetime, end: datetime, count: int, default_zone: str
) -> tuple[list[datetime], datetime | None]:
    """The last `count` ticks in [first, end], and the one that follows.

    After a long rest of a frequent schedule, walking every missed tick would take as long as
    the rest had many: the walk begins ever further back, until it meets enough.
    """
    span = timedelta(minutes=1)
    while True:
        start = end - span
        ticks: deque[datetime] = deque(maxlen=count)
        tick = rule.next_after(start, default_zone) if start > first else first
        while tick is not None and tick <= end:
            ticks.append(tick)
            tick = rule.next_after(tick, default_zone)
        if len(ticks) == count or start <= first:
            return list(ticks), tick
        span *= 8


def _before_the_end(tick: datetime | None, policy: Policy) -> datetime | None:
    if tick is None or policy.ends_at is None or tick <= policy.ends_at:
        return tick
    return None
