"""`settings.JOBS` as a frozen dataclass: its fields, types and defaults are the reference."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

Expectation = tuple[str, Callable[[Any], bool]]

_NAME: Expectation = ("a name", lambda value: isinstance(value, str) and value != "")
_NAMES: Expectation = (
    "a list of names",
    lambda value: isinstance(value, list | tuple) and all(isinstance(v, str) for v in value),
)
_OPTIONAL_NAMES: Expectation = (
    "a list of names, or None",
    lambda value: value is None or _NAMES[1](value),
)
_TEXT_TO_TEXT: Expectation = (
    "a dict of names to names",
    lambda value: (
        isinstance(value, Mapping)
        and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items())
    ),
)
_TEXT_TO_DICT: Expectation = (
    "a dict of names to dicts",
    lambda value: (
        isinstance(value, Mapping)
        and all(isinstance(k, str) and isinstance(v, Mapping) for k, v in value.items())
    ),
)
_DURATION: Expectation = (
    "a timedelta greater than zero",
    lambda value: isinstance(value, timedelta) and value > timedelta(0),
)
_OPTIONAL_DURATION: Expectation = (
    "a timedelta greater than zero, or None",
    lambda value: value is None or _DURATION[1](value),
)
_COUNT: Expectation = (
    "a whole number greater than zero",
    lambda value: type(value) is int and value > 0,
)
_OPTIONAL_COUNT: Expectation = (
    "a whole number greater than zero, or None",
    lambda value: value is None or _COUNT[1](value),
)
_COUNT_OR_ZERO: Expectation = (
    "a whole number, zero or greater",
    lambda value: type(value) is int and value >= 0,
)
_WHETHER_LOGS: Expectation = (
    "'on_failure', 'always' or 'never'",
    lambda value: value in ("on_failure", "always", "never"),
)
_LEVEL: Expectation = (
    "a level of logging, as 'INFO'",
    lambda value: isinstance(value, str) and value in logging.getLevelNamesMapping(),
)
_TEXT: Expectation = ("a text", lambda value: isinstance(value, str))
_SWITCH: Expectation = ("True or False", lambda value: isinstance(value, bool))


def _setting(default: Any, expectation: Expectation, meaning: str) -> Any:
    metadata = {"expectation": expectation, "meaning": meaning}
    if isinstance(default, dict):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field is the key of the same name, in capitals, of the dict `JOBS`."""

    database: str = _setting("default", _NAME, "The alias of the database that keeps the jobs.")
    queues: tuple[str, ...] | None = _setting(
        None, _OPTIONAL_NAMES, "The queue names that may be used; None allows any."
    )
    defaults: Mapping[str, Mapping[str, Any]] = _setting(
        {}, _TEXT_TO_DICT, "Options for tasks by name pattern, where the code sets none."
    )
    tasks: Mapping[str, Mapping[str, Any]] = _setting(
        {}, _TEXT_TO_DICT, "Options for tasks by name pattern, over what the code says."
    )
    task_aliases: Mapping[str, str] = _setting(
        {}, _TEXT_TO_TEXT, "Old task names and the names they go by now."
    )
    allowed_functions: tuple[str, ...] = _setting(
        (), _NAMES, "Dotted paths of functions outside the site's own apps that may be jobs."
    )
    schedules: Mapping[str, Mapping[str, Any]] = _setting(
        {}, _TEXT_TO_DICT, "Schedules by name: task, schedule, and any option of a schedule."
    )
    max_argument_bytes: int = _setting(
        1_000_000, _COUNT, "The largest arguments of a job, as JSON."
    )
    max_result_bytes: int = _setting(1_000_000, _COUNT, "The largest result of a job, as JSON.")
    max_losses: int = _setting(
        3, _COUNT_OR_ZERO, "How often a job may lose its process before it fails; 0: at most once."
    )
    retention: timedelta | None = _setting(
        timedelta(days=30),
        _OPTIONAL_DURATION,
        "How long finished jobs are kept, unless their task says otherwise; None: for ever.",
    )
    prune_interval: timedelta = _setting(
        timedelta(hours=1), _DURATION, "How often a worker looks for those that are too old."
    )
    heartbeat_interval: timedelta = _setting(
        timedelta(seconds=5), _DURATION, "How often a worker says that it lives."
    )
    heartbeat_timeout: timedelta = _setting(
        timedelta(seconds=30), _DURATION, "How long a silent worker keeps its jobs."
    )
    interrupt_grace: timedelta = _setting(
        timedelta(seconds=10),
        _DURATION,
        "How long a task may go on after its time limit or its cancellation, to clean up; then "
        "its process is killed.",
    )
    stuck_after: timedelta | None = _setting(
        timedelta(hours=1),
        _OPTIONAL_DURATION,
        "A job without a time limit that has run for so long is told in the log, with where it "
        "is; None: never.",
    )
    unknown_task_patience: timedelta = _setting(
        timedelta(minutes=5),
        _DURATION,
        "How long jobs of a task that a worker does not know are left for other workers.",
    )
    grace_period: timedelta = _setting(
        timedelta(seconds=30),
        _DURATION,
        "How long running jobs may go on once a worker is told to stop.",
    )
    poll_interval: timedelta = _setting(
        timedelta(seconds=1), _DURATION, "How often an idle runner looks for jobs by itself."
    )
    listen: bool = _setting(
        True, _SWITCH, "Use LISTEN and NOTIFY to wake idle workers; False polls only."
    )
    transaction_pooling: bool = _setting(
        False,
        _SWITCH,
        "The database is behind PgBouncer in transaction mode: nothing is kept in a session, "
        "and idle workers poll.",
    )
    retire_after: timedelta = _setting(
        timedelta(seconds=30),
        _DURATION,
        "For how long a runner that `--autoscale` has added must have nothing to do to be stopped.",
    )
    processes: int | None = _setting(
        None, _OPTIONAL_COUNT, "Runner processes of a worker; None: one per core."
    )
    threads: int = _setting(1, _COUNT, "Thread slots of a runner, for plain functions.")
    coroutines: int = _setting(100, _COUNT, "Coroutine slots of a runner, for async functions.")
    admin_url: str = _setting(
        "",
        _TEXT,
        "Where the admin is, as 'https://shop.example/admin/': lines of the log about failures, "
        "and e-mails of these, then lead to the job and to the failures of its kind.",
    )
    immediate: bool = _setting(
        False,
        _SWITCH,
        "Run each due job as soon as it is enqueued, in the process that enqueues it: for tests, "
        "and for a development server without a worker.",
    )
    keep_log: str = _setting(
        "on_failure",
        _WHETHER_LOGS,
        "Of which attempts what they log is kept: 'on_failure', 'always' or 'never'.",
    )
    log_level: str = _setting("INFO", _LEVEL, "How grave a record must be to be kept.")
    max_log_bytes: int = _setting(
        64_000,
        _COUNT,
        "The longest log of an attempt, in bytes of UTF-8: its first and last lines.",
    )


# The database that this process serves, where it is told to serve another than JOBS names.
_served: str | None = None


@cache
def settings() -> Settings:
    """The site's `JOBS`, read once; again after Django's `override_settings`."""
    raw = _raw()
    wrong = problems(raw)
    if wrong:
        raise ImproperlyConfigured(" ".join(f"{message} {hint}" for message, hint in wrong))
    given: dict[str, Any] = {
        key.lower(): tuple(value) if isinstance(value, list) else value
        for key, value in raw.items()
    }
    if given.get("transaction_pooling"):
        given["listen"] = False
    if _served is not None:
        given["database"] = _served
    return Settings(**given)


def database() -> str:
    """Return the alias of the jobs' database, also where something else in JOBS is wrong: for code
    that runs at import, before the check jobs.E001 can report it."""
    raw = _raw()
    named = raw.get("DATABASE") if isinstance(raw, Mapping) else None
    return _served or (named if isinstance(named, str) and named else Settings().database)


@contextmanager
def serving(alias: str) -> Iterator[None]:
    """While it lasts, this process's jobs are those of that database (`--database`)."""
    global _served
    before, _served = _served, alias
    settings.cache_clear()
    try:
        yield
    finally:
        _served = before
        settings.cache_clear()


def serves_another() -> bool:
    """Whether this process serves another database than the one that JOBS names: what code
    declares belongs to that one."""
    raw = _raw()
    named = raw.get("DATABASE") if isinstance(raw, Mapping) else None
    return _served is not None and _served != (named or Settings().database)


def problems(raw: Any) -> list[tuple[str, str]]:
    """What is wrong with a `JOBS` dict, as (message, hint); empty when it is fine."""
    if not isinstance(raw, Mapping):
        return [("The setting JOBS is not a dict.", 'Write JOBS = {"QUEUES": [...], …}.')]
    known = {item.name.upper(): item for item in fields(Settings)}
    wrong = []
    for key, value in raw.items():
        if key not in known:
            wrong.append((f"JOBS has no setting {key!r}.", _nearest(str(key), list(known))))
            continue
        expected, fits = known[key].metadata["expectation"]
        if not fits(value):
            wrong.append((f"JOBS[{key!r}] is {value!r}.", f"It must be {expected}."))
    if not wrong:
        wrong.extend(_contradictions(raw))
    return wrong


def _contradictions(raw: Mapping[str, Any]) -> list[tuple[str, str]]:
    interval = raw.get("HEARTBEAT_INTERVAL", Settings().heartbeat_interval)
    timeout = raw.get("HEARTBEAT_TIMEOUT", Settings().heartbeat_timeout)
    if interval * 2 >= timeout:
        return [
            (
                "JOBS['HEARTBEAT_TIMEOUT'] is not more than twice JOBS['HEARTBEAT_INTERVAL'].",
                "One late heartbeat would give a living worker's jobs away: raise the timeout.",
            )
        ]
    return []


def _nearest(word: str, words: list[str]) -> str:
    near = difflib.get_close_matches(word.upper(), words, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(sorted(words))}."


def _raw() -> Any:
    return getattr(django_settings, "JOBS", {})


def check() -> list[tuple[str, str]]:
    """`problems` of the site's own settings."""
    return problems(_raw())


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "JOBS":
        settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="jobs.conf")
