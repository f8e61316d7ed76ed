"""What code and settings declare: tasks, their callbacks, schedules."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from django.core.checks import CheckMessage, Error, Warning
from django.db import DEFAULT_DB_ALIAS, connections

from jobs import conf
from jobs.beat import declared
from jobs.cron import Cron
from jobs.errors import JobsError
from jobs.tasks import call, callbacks, configured, registered


def problems() -> Iterator[CheckMessage]:
    yield from _tasks()
    yield from _callbacks()
    yield from _schedules()


def _tasks() -> Iterator[CheckMessage]:
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
