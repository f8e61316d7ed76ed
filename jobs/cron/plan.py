"""A plan: a rule, what becomes of missed and overlapping runs, and the options of its jobs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, Unpack

from jobs.bounds import FIRST_MOMENT, LAST_MOMENT, is_text
from jobs.errors import InvalidSchedule

from .due import CATCH_UP, CatchUp, Policy
from .lines import Cron, Days
from .rules import EPOCH, LONGEST, At, Every, Rule, is_sound
from .sun import Solar

Overlap = Literal["allow", "skip", "cancel"]
OVERLAP: tuple[Overlap, ...] = ("allow", "skip", "cancel")
_RULES = (Cron, Every, At, Solar)
_SPAN = "a timedelta greater than zero, of a hundred years at most"
_MOMENT = f"a datetime with a time zone, from {FIRST_MOMENT.year} to {LAST_MOMENT.year}"
_MOST_RUNS = 2_000_000_000


class Options(TypedDict, total=False):
    """What may be said of a schedule beside its rule (docs/schedules.md)."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    # Of its jobs, as `using` takes them.
    queue_name: str
    priority: int
    run_after: timedelta
    max_attempts: int
    max_losses: int
    timeout: timedelta
    expires_after: timedelta
    metadata: Mapping[str, Any]
    # Of its ticks.
    starts_at: datetime
    ends_at: datetime
    catch_up: CatchUp
    catch_up_limit: int
    grace: timedelta
    overlap: Overlap
    jitter: timedelta
    max_runs: int
    tick_argument: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `schedule=` comes to. Options that are None are the task's, or the default."""

    rule: Rule
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    queue_name: str | None = None
    priority: int | None = None
    run_after: timedelta | None = None
    max_attempts: int | None = None
    max_losses: int | None = None
    timeout: timedelta | None = None
    expires_after: timedelta | None = None
    metadata: Mapping[str, Any] | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    catch_up: CatchUp = "latest"
    catch_up_limit: int = 100
    grace: timedelta | None = None
    overlap: Overlap = "allow"
    jitter: timedelta | None = None
    max_runs: int | None = None
    tick_argument: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        for name, fits, expected in (
            ("args", isinstance(self.args, list | tuple), "a list"),
            ("kwargs", _is_mapping(self.kwargs), "a dict with names as keys"),
            ("queue_name", self.queue_name is None or is_text(self.queue_name), "a text"),
            ("run_after", _is_duration(self.run_after), _SPAN),
            ("timeout", _is_duration(self.timeout), _SPAN),
            ("expires_after", _is_duration(self.expires_after), _SPAN),
            ("starts_at", _is_moment(self.starts_at), _MOMENT),
            ("ends_at", _is_moment(self.ends_at), _MOMENT),
            ("catch_up", self.catch_up in CATCH_UP, _one_of(CATCH_UP)),
            ("catch_up_limit", _is_count(self.catch_up_limit), "a whole number from 1 to 1000"),
            ("grace", _is_duration(self.grace), _SPAN),
            ("overlap", self.overlap in OVERLAP, _one_of(OVERLAP)),
            ("jitter", _is_duration(self.jitter), _SPAN),
            (
                "max_runs",
                self.max_runs is None
                or (type(self.max_runs) is int and 0 < self.max_runs <= _MOST_RUNS),
                f"a whole number from 1 to {_MOST_RUNS:,}",
            ),
            (
                "tick_argument",
                isinstance(self.tick_argument, str)
                and (not self.tick_argument or self.tick_argument.isidentifier()),
                "the name of an argument",
            ),
            (
                "description",
                is_text(self.description),
                "a text",
            ),
            (
                "metadata",
                self.metadata is None or _is_mapping(self.metadata),
                "a dict with names as keys",
            ),
        ):
            if not fits:
                value = getattr(self, name)
                told = str(value) if isinstance(value, timedelta | datetime) else repr(value)
                raise InvalidSchedule(f"{name} is {told}; it must be {expected}")
        if self.starts_at and self.ends_at and self.ends_at < self.starts_at:
            raise InvalidSchedule("ends_at lies before starts_at")
        if self.tick_argument in self.kwargs:
            raise InvalidSchedule(
                f"kwargs has a {self.tick_argument!r} of its own, which is the tick_argument"
            )
        object.__setattr__(self, "args", tuple(self.args))

    @property
    def policy(self) -> Policy:
        return Policy(self.catch_up, self.catch_up_limit, self.grace, self.starts_at, self.ends_at)


OPTIONS = frozenset(item.name for item in fields(Plan)) - {"rule"}


def cron(
    line: str,
    *,
    timezone: str | None = None,
    days: Days = "either",
    **options: Unpack[Options],
) -> Plan:
    """A cron line, in the given zone or else in the site's TIME_ZONE.

    Where both day of month and day of week are restricted, either is enough, as in Vixie's cron;
    with days="both" both have to fit, as in Celery.
    """
    _check_options(options, "cron()", ("timezone", "days"))
    return Plan(rule=Cron(line, timezone, days), **options)


def every(
    *,
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
    anchor: datetime = EPOCH,
    **options: Unpack[Options],
) -> Plan:
    """An interval of elapsed time, counted from `anchor`; a day is 24 hours."""
    _check_options(options, "every()", ("days", "hours", "minutes", "seconds", "anchor"))
    interval = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    return Plan(rule=Every(interval, anchor), **options)


def at(moment: datetime, **options: Unpack[Options]) -> Plan:
    """One moment, once."""
    _check_options(options, "at()")
    return Plan(rule=At(moment), **options)


def solar(event: str, *, latitude: float, longitude: float, **options: Unpack[Options]) -> Plan:
    """What the sun does each day at a place in degrees north and east: "sunrise", …"""
    _check_options(options, "solar()", ("latitude", "longitude"))
    return Plan(rule=Solar(event, latitude, longitude), **options)


def as_plan(value: object, **options: Any) -> Plan:
    """A plan from what `schedule=` takes: a plan, a cron line, a timedelta or a datetime.

    Beside a cron line, its zone and days may stand among the options.
    """
    if isinstance(value, str):
        _check_options(options, "a schedule", ("timezone", "days"))
        return cron(value, **options)
    _check_options(options, "a schedule")
    if isinstance(value, Plan):
        return replace(value, **options) if options else value
    if isinstance(value, _RULES):
        return Plan(rule=value, **options)
    if isinstance(value, timedelta):
        return Plan(rule=Every(value), **options)
    if isinstance(value, datetime):
        return Plan(rule=At(value), **options)
    raise InvalidSchedule(
        f"{value!r} is no schedule; use cron(…), every(…), at(…), solar(…), a cron line, a "
        "timedelta or a datetime"
    )


# What those who come from elsewhere write first.
_ELSEWHERE = {"queue": "queue_name", "expires": "expires_after", "eta": "run_after"}


def _check_options(options: Mapping[str, Any], owner: str, own: tuple[str, ...] = ()) -> None:
    """InvalidSchedule for the first that is no option, with the nearest that is."""
    known = [*own, *sorted(OPTIONS)]
    for name in options.keys() - OPTIONS - set(own):
        if name in ("timezone", "days"):
            hint = "say it in cron(…, timezone=…, days=…)"
        else:
            near = difflib.get_close_matches(_ELSEWHERE.get(name, name), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        raise InvalidSchedule(f"{owner} has no option {name!r}; {hint}")


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _is_duration(value: Any) -> bool:
    return value is None or (isinstance(value, timedelta) and timedelta(0) < value <= LONGEST)


def _is_moment(value: Any) -> bool:
    return value is None or (isinstance(value, datetime) and is_sound(value))


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 1000


def _one_of(words: tuple[str, ...]) -> str:
    return " or ".join(map(repr, words))
