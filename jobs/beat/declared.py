"""What code and settings declare, and how the rows are kept in step with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from jobs import codec, conf, cron
from jobs.bounds import is_text
from jobs.errors import InvalidSchedule, JobsError
from jobs.models import Schedule
from jobs.models.schedule import OPTIONS, columns_of
from jobs.tasks import Task, call, registered, resolve

logger = logging.getLogger("jobs")

_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule as code or settings say it."""

    name: str
    source: Schedule.Source
    task: str
    plan: cron.Plan

    def columns(self) -> dict[str, Any]:
        """The columns that follow the declaration; InvalidSchedule or a call's error."""
        task = resolve(self.task)
        arguments = encoded(task, self.plan)
        own = {"source": self.source, "task": task.name, "arguments": arguments}
        return columns_of(self.plan) | own


def encoded(task: Task[..., Any], plan: cron.Plan) -> dict[str, Any]:
    """The arguments as a row keeps them; an error that names what does not fit the task."""
    options = {name: getattr(plan, name) for name in OPTIONS}
    task = call.checked(task.using(**options))
    # What its metadata cannot keep is refused, too.
    call.draft(task)
    # Any moment will do to see whether the call fits.
    tick = {plan.tick_argument: datetime.now(UTC)} if plan.tick_argument else {}
    made = call.encoded_call(task, plan.args, dict(plan.kwargs) | tick)
    for name in tick:
        del made["kwargs"][name]
    most, what = conf.settings().max_argument_bytes, f"the arguments of {task.name}"
    codec.write(made, max_bytes=most, what=what)
    return made


def declared() -> tuple[dict[str, Declared], dict[str, JobsError]]:
    """What @task(schedule=…) and JOBS["SCHEDULES"] declare by name, and what is wrong with the
    rest: one bad entry hides no other."""
    good = {
        task.name: Declared(task.name, Schedule.Source.CODE, task.name, task.schedule)
        for task in registered().values()
        if task.schedule is not None
    }
    bad: dict[str, JobsError] = {}
    for name, said in conf.settings().schedules.items():
        try:
            good[name] = _from_settings(name, said)
        except JobsError as error:
            bad[name] = error
        except Exception as error:
            # Settings hold anything.
            bad[name] = InvalidSchedule(f"{type(error).__name__}: {error}")
    return good, bad


def _from_settings(name: str, said: Mapping[str, Any]) -> Declared:
    if len(name) > _LONGEST_NAME or not is_text(name):
        raise InvalidSchedule(f"its name must be a text of at most {_LONGEST_NAME} characters")
    if not all(isinstance(key, str) for key in said) or not isinstance(said.get("task", ""), str):
        raise InvalidSchedule("its keys are names, and its task is the name of one")
    if not {"task", "schedule"} <= said.keys():
        raise InvalidSchedule(
            "it needs 'task' and 'schedule', and may have "
            f"{', '.join(sorted(map(repr, cron.OPTIONS)))}; "
            f"it has {', '.join(sorted(map(repr, said)))}"
        )
    options = {key: value for key, value in said.items() if key not in ("task", "schedule")}
    plan = cron.as_plan(said["schedule"], **options)
    return Declared(name, Schedule.Source.SETTINGS, said["task"], plan)


def synchronise() -> None:
    """Bring the rows in step with what is declared; what is declared no more is retired.

    What an operator changed on purpose (`enabled`) stays, and so does what the beats write. A
    row that somebody made by hand under a declared name becomes the declaration's. Declarations
    belong to the database that JOBS names: elsewhere there is nothing to do.
    """
    if conf.serves_another():
        return
    alias = conf.settings().database
    wanted, bad = declared()
    for name, error in bad.items():
        # The system check says so, too; it must not stop the others.
        logger.error("schedule %s cannot be declared: %s", name, error)
    rows = Schedule.objects.using(alias)
    own = rows.filter(Q(name__in=wanted) | ~Q(source=Schedule.Source.HAND))
    with transaction.atomic(using=alias):
        with connections[alias].cursor() as cursor:
            # Whoever holds a row is not waited for: it is tried again later.
            cursor.execute("SET LOCAL lock_timeout = '2s'")
        known = {row.name: row for row in own.select_for_update(no_key=True).order_by("name")}
        for name, one in wanted.items():
            try:
                # PostgreSQL may refuse what looked right: that one alone.
                with transaction.atomic(using=alias):
                    _write(rows, known.get(name), name, one.columns())
            except (JobsError, ImportError, DatabaseError, TypeError, ValueError) as error:
                logger.error("schedule %s cannot be declared: %s", name, str(error).strip())
        gone = [
            row.pk
            for row in known.values()
            if not row.retired_at and row.name not in {*wanted, *bad}
        ]
        rows.filter(pk__in=gone).update(retired_at=Now())


def _write(
    rows: QuerySet[Schedule], row: Schedule | None, name: str, columns: dict[str, Any]
) -> None:
    if row is None:
        # Another beat may insert the same one just now.
        rows.bulk_create([Schedule(name=name, **columns)], ignore_conflicts=True)
    elif row.retired_at or any(getattr(row, k) != v for k, v in columns.items()):
        # A tick that is due stays due, unless the rule itself is another: the trigger's business.
        rows.filter(pk=row.pk).update(**columns, retired_at=None)
