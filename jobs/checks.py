"""System checks: what would go wrong later is said at start-up, with its cure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, connections

from . import conf
from .cron import Cron
from .errors import JobsError

OLDEST_POSTGRESQL = 15


@register("jobs")
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """JOBS itself, then what depends on it being right."""
    wrong: list[CheckMessage] = [
        Error(message, hint=hint, id="jobs.E001") for message, hint in conf.check()
    ]
    return wrong or [*_database(), *_time_zone(), *_tasks(), *_callbacks(), *_schedules()]


def _database() -> Iterator[CheckMessage]:
    alias = conf.settings().database
    if alias not in connections.settings:
        yield Error(
            f"JOBS['DATABASE'] is {alias!r}, which DATABASES does not have.",
            hint=f"It has: {', '.join(sorted(connections.settings))}.",
            id="jobs.E002",
        )
    elif connections[alias].vendor != "postgresql":
        yield Error(
            f"The database {alias!r} is {connections[alias].display_name}; jobs needs PostgreSQL.",
            hint="Set DATABASES, or JOBS['DATABASE'] to the alias of a PostgreSQL database.",
            id="jobs.E003",
        )
    elif (
        connections.settings[alias].get("DISABLE_SERVER_SIDE_CURSORS")
        and not conf.settings().transaction_pooling
    ):
        yield Warning(
            f"The database {alias!r} has DISABLE_SERVER_SIDE_CURSORS, as behind PgBouncer in "
            "transaction mode, where workers cannot LISTEN nor keep options in a session.",
            hint="Set JOBS['TRANSACTION_POOLING'] = True where that is so.",
            id="jobs.W003",
        )


def _time_zone() -> Iterator[CheckMessage]:
    if not django_settings.USE_TZ:
        yield Error(
            "USE_TZ is False; jobs keeps moments, which need a time zone.",
            hint="Set USE_TZ = True.",
            id="jobs.E005",
        )


def _tasks() -> Iterator[CheckMessage]:
    from .tasks import call, registered

    told: set[str] = set()
    for task in registered().values():
        try:
            call.checked(task)
        except JobsError as error:
            # A mistake in JOBS["TASKS"] is the same for each task that it is about.
            if str(error) not in told:
                told.add(str(error))
                yield Error(str(error), id="jobs.E006")
        alias = conf.settings().database
        is_elsewhere = alias != DEFAULT_DB_ALIAS and alias in connections.settings
        # With --database, most of them have their jobs where JOBS says.
        if task.atomic and is_elsewhere and not conf.serves_another():
            yield Error(
                f"Task {task.name} is atomic, and its jobs are kept in the database "
                f"{alias!r}: what it writes to {DEFAULT_DB_ALIAS!r} would not "
                "commit together with its end.",
                hint="Drop atomic=True, or keep the jobs in the default database.",
                id="jobs.E008",
            )
        if task.max_attempts == 1 and task.asks_for_retries:
            yield Warning(
                f"Task {task.name} asks for retries and allows only one attempt.",
                hint="Raise max_attempts, or drop retry_on and backoff.",
                id="jobs.W001",
            )
    for pattern in conf.settings().tasks:
        if not any(fnmatchcase(name, pattern) for name in registered()):
            yield Warning(
                f"JOBS['TASKS'][{pattern!r}] is about no task that there is.",
                hint=f"There are: {', '.join(registered())}.",
                id="jobs.W002",
            )


def _callbacks() -> Iterator[CheckMessage]:
    from .tasks import callbacks, configured, registered

    follows: dict[str, set[str]] = {}
    for task in registered().values():
        try:
            task = configured(task)
        except JobsError:
            # Told by the check of tasks.
            continue
        try:
            found = callbacks(task)
        except JobsError as error:
            yield Error(
                str(error),
                hint="A callback is a task, or a function, that takes one argument: the job's id.",
                id="jobs.E010",
            )
        else:
            follows[task.name] = {callback.name for callback in found.values()}
    for name in follows:
        if name in _reached(follows, name):
            yield Error(
                f"The callbacks of task {name} go round: they lead back to itself.",
                hint="Each end of such a job would queue another, for ever.",
                id="jobs.E010",
            )


def _reached(follows: dict[str, set[str]], name: str) -> set[str]:
    """The tasks whose jobs may follow, however late, a job of this one."""
    reached: set[str] = set()
    ahead = [name]
    while ahead:
        for one in follows.get(ahead.pop(), set()) - reached:
            reached.add(one)
            ahead.append(one)
    return reached


def _schedules() -> Iterator[CheckMessage]:
    from .beat import declared

    good, bad = declared()
    for name, error in bad.items():
        yield Error(f"Schedule {name!r}: {error}", id="jobs.E007")
    for one in good.values():
        try:
            one.columns()
        except (JobsError, ImportError) as problem:
            yield Error(f"Schedule {one.name!r}: {problem}", id="jobs.E007")
        if isinstance(one.plan.rule, Cron) and one.plan.rule.line.split()[5:] == ["*"]:
            yield Warning(
                f"Schedule {one.name!r} ticks each second of a minute: {one.plan.rule.line}",
                hint="Seconds stand last in six fields; elsewhere they stand first.",
                id="jobs.W004",
            )


@register(Tags.database)
def check_database(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """What only the server itself can tell; with `check --database`, and before migrate."""
    if conf.check():
        return []
    alias = conf.settings().database
    if alias not in (databases or ()) or connections[alias].vendor != "postgresql":
        return []
    with connections[alias].cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        version = int(cursor.fetchone()[0]) // 10_000
    if version >= OLDEST_POSTGRESQL:
        return []
    return [
        Error(
            f"The database {alias!r} runs PostgreSQL {version}; jobs needs "
            f"{OLDEST_POSTGRESQL} or newer.",
            id="jobs.E004",
        )
    ]
