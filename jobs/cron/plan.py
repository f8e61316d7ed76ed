"""A plan: a rule, what becomes of missed and overlapping runs, and the options of its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, Unpack

from jobs.errors import InvalidSchedule

from .due import CATCH_UP, CatchUp, Policy
from .lines import Cron, Days
from .rules import EPOCH, At, Every, Rule
from .sun import Solar

Overlap = Literal["allow", "skip", "cancel"]
OVERLAP: tuple[Overlap, ...] = ("allow", "skip", "cancel")
_RULES = (Cron, Every, At, Solar)


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
            ("run_after", _is_duration(self.run_after), "a timedelta greater than zero"),
            ("starts_at", _is_moment(self.starts_at), "a datetime with a time zone"),
            ("ends_at", _is_moment(self.ends_at), "a datetime with a time zone"),
            ("catch_up", self.catch_up in CATCH_UP, _one_of(CATCH_UP)),
            ("catch_up_limit", _is_count(self.catch_up_limit), "a whole number from 1 to 1000"),
            ("grace", _is_duration(self.grace), "a timedelta greater than zero"),
            ("overlap", self.overlap in OVERLAP, _one_of(OVERLAP)),
            ("jitter", _is_duration(self.jitter), "a timedelta greater than zero"),
            (
                "max_runs",
                self.max_runs is None or (type(self.max_runs) is int and self.max_runs > 0),
                "a whole number of at least 1",
            ),
            (
                "tick_argument",
                isinstance(self.tick_argument, str)
                and (not self.tick_argument or self.tick_argument.isidentifier()),
                "the name of an argument",
            ),
            ("description", isinstance(self.description, str), "a text"),
        ):
            if not fits:
                raise InvalidSchedule(f"{name} is {getattr(self, name)!r}; it must be {expected}")
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
    interval = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    return Plan(rule=Every(interval, anchor), **options)


def at(moment: datetime, **options: Unpack[Options]) -> Plan:
    """One moment, once."""
    return Plan(rule=At(moment), **options)


def solar(event: str, *, latitude: float, longitude: float, **options: Unpack[Options]) -> Plan:
    """What the sun does each day at a place in degrees north and east: "sunrise", …"""
    return Plan(rule=Solar(event, latitude, longitude), **options)


def as_plan(value: object, **options: Any) -> Plan:
    """A plan from what `schedule=` takes: a plan, a cron line, a timedelta or a datetime."""
    if unknown := sorted(options.keys() - OPTIONS):
        raise InvalidSchedule(
            f"a schedule has no option {unknown[0]!r}; there are: {', '.join(sorted(OPTIONS))}"
        )
    if isinstance(value, Plan):
        return replace(value, **options) if options else value
    if isinstance(value, _RULES):
        return Plan(rule=value, **options)
    if isinstance(value, str):
        return Plan(rule=Cron(value), **options)
    if isinstance(value, timedelta):
        return Plan(rule=Every(value), **options)
    if isinstance(value, datetime):
        return Plan(rule=At(value), **options)
    raise InvalidSchedule(
        f"{value!r} is no schedule; use cron(…), every(…), at(…), solar(…), a cron line, a "
        "timedelta or a datetime"
    )


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _is_duration(value: Any) -> bool:
    return value is None or (isinstance(value, timedelta) and value > timedelta(0))


def _is_moment(value: Any) -> bool:
    return value is None or (isinstance(value, datetime) and value.tzinfo is not None)


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 1000


def _one_of(words: tuple[str, ...]) -> str:
    return " or ".join(map(repr, words))
