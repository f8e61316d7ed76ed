"""What code and settings declare: tasks, their callbacks, schedules."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections

from jobs import conf
from jobs.beat import declared
from jobs.cron import Cron
from jobs.errors import JobsError
from jobs.tasks import Task, as_task, call, configured, registered
from jobs.tasks.following import WHEN, callback, names_one
from jobs.tasks.registry import check_configured
from jobs.tasks.registry import declared as declared_by_django


def problems() -> Iterator[CheckMessage]:
    yield from _patterns()
    yield from _tasks()
    yield from _callbacks()
    yield from _schedules()


def _tasks() -> Iterator[CheckMessage]:
    told: set[str] = set()
    for task in registered().values():
        try:
            call.checked(task)
        except JobsError as error:
            # A mistake in JOBS["TASKS"] is told once, with its pattern.
            if str(error) not in told and not str(error).startswith("JOBS["):
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


def _patterns() -> Iterator[CheckMessage]:
    """Options of JOBS["DEFAULTS"] and JOBS["TASKS"], and names that look like a slip of the pen. A
    pattern about no task that is known here may be about plain functions, or another package's."""
    settings = conf.settings()
    for setting, patterns in (("DEFAULTS", settings.defaults), ("TASKS", settings.tasks)):
        for pattern, options in patterns.items():
            try:
                check_configured(pattern, options, setting)
            except JobsError as error:
                yield Error(str(error), id="jobs.E006")
            if near := _slip_of_the_pen(pattern):
                yield Warning(
                    f"JOBS[{setting!r}][{pattern!r}] is about no task that there is.",
                    hint=f"Did you mean {near!r}?",
                    id="jobs.W002",
                )


def _slip_of_the_pen(pattern: str) -> str | None:
    """The name that a pattern about no known task most likely means, if there is a near one."""
    known = {*registered(), *declared_by_django()}
    if any(fnmatchcase(name, pattern) for name in known):
        return None
    module, _, function = pattern.rpartition(".")
    if hasattr(sys.modules.get(module), function):
        return None
    modules = {name.rpartition(".")[0] for name in known}
    literal = pattern.partition("*")[0].rstrip(".")
    if any(one.startswith(literal) for one in known):
        return None
    near = get_close_matches(literal, sorted(known | modules), n=1, cutoff=0.85)
    return near[0] if near and near[0] != literal else None


def _callbacks() -> Iterator[CheckMessage]:
    follows: dict[str, set[str]] = {}
    for task in _all_tasks():
        follows[task.name] = set()
        for option in WHEN:
            if not names_one(task, option):
                continue
            try:
                follows[task.name].add(callback(task, option).name)
            except JobsError as error:
                yield Error(
                    str(error),
                    hint="It is a task, or a function, that takes one argument: a job's id.",
                    id="jobs.E010",
                )
    for name in follows:
        if name in _reached(follows, name):
            yield Error(
                f"The callbacks of task {name} go round: they lead back to itself.",
                hint="Each end of such a job would queue another, for ever.",
                id="jobs.E010",
            )


def _all_tasks() -> Iterator[Task[..., Any]]:
    """Those that can be configured; the others are told by the check of tasks."""
    for task in (*registered().values(), *declared_by_django().values()):
        with contextlib.suppress(JobsError, ImproperlyConfigured):
            yield configured(as_task(task))


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
