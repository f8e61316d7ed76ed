"""The beat: enqueues what the schedules say is due, each tick once, with any number of beats.

There is no leader: a due row is locked with SKIP LOCKED, its `last_tick` moves forward by
compare-and-set, and the job goes in with the same transaction. The database is the clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings as django_settings
from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.models import Min, Q, QuerySet
from django.db.models.functions import Now

from . import codec, conf, cron, lifecycle
from .errors import InvalidSchedule, JobsError
from .execution import clean
from .models import Schedule
from .models.references import load
from .tasks import call, registered, resolve

logger = logging.getLogger("jobs")

# An idle beat looks again after so many seconds, for schedules that changed meanwhile.
_POLL = 1.0
# So many schedules a transaction: a long one would hold back vacuum and other beats.
_BATCH = 100
# The columns that say when.
_RULE = ("kind", "line", "timezone", "interval", "anchor")
# A schedule that cannot be enqueued is tried again this much later.
_TRY_AGAIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule as code or settings say it."""

    name: str
    source: Schedule.Source
    task: str
    rule: cron.Rule
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def columns(self) -> dict[str, Any]:
        """The columns that follow the declaration; InvalidSchedule or a call's error."""
        task = call.checked(resolve(self.task))
        arguments = call.encoded_call(task, self.args, self.kwargs)
        own = {"source": self.source, "task": task.name, "arguments": arguments}
        return own | Schedule.columns_of(self.rule)


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
    return good, bad


def _from_settings(name: str, said: Mapping[str, Any]) -> Declared:
    if not {"task", "schedule"} <= said.keys() <= {"task", "schedule", "args", "kwargs"}:
        raise InvalidSchedule(
            "it needs 'task' and 'schedule', and may have 'args' and 'kwargs'; "
            f"it has {', '.join(sorted(map(repr, said)))}"
        )
    return Declared(
        name,
        Schedule.Source.SETTINGS,
        said["task"],
        cron.as_rule(said["schedule"]),
        tuple(said.get("args", ())),
        dict(said.get("kwargs", {})),
    )


def synchronise() -> None:
    """Bring the rows in step with what is declared; what is declared no more is retired.

    What an operator changed on purpose (`enabled`) stays, and so does `last_tick`.
    """
    alias = conf.settings().database
    wanted, bad = declared()
    for name, error in bad.items():
        # The system check says so, too; it must not stop the others.
        logger.error("schedule %s cannot be declared: %s", name, error)
    rows = Schedule.objects.using(alias)
    with transaction.atomic(using=alias):
        known = {row.name: row for row in rows.select_for_update().order_by("name")}
        now = _now(alias)
        for name, one in wanted.items():
            try:
                columns = one.columns()
            except (JobsError, ImportError) as error:
                logger.error("schedule %s cannot be declared: %s", name, error)
                continue
            row = known.get(name)
            if row is None:
                # Another beat may insert the same one just now.
                new = Schedule(name=name, **columns)
                new.next_run_at = new.next_after(now)
                rows.bulk_create([new], ignore_conflicts=True)
            elif row.retired_at or any(getattr(row, k) != v for k, v in columns.items()):
                # A tick that is due already stays due, unless the rule itself is another.
                is_new_rule = any(getattr(row, key) != columns[key] for key in _RULE)
                for key, value in columns.items():
                    setattr(row, key, value)
                if is_new_rule or row.retired_at:
                    row.next_run_at, row.problem = row.next_after(now), ""
                row.retired_at = None
                row.save(using=alias)
        gone = [
            name
            for name, row in known.items()
            if name not in {*wanted, *bad} and not row.retired_at
        ]
        rows.filter(name__in=gone).update(retired_at=Now(), next_run_at=None)


def step() -> float:
    """Enqueue what is due; returns in how many seconds there may be more to do."""
    alias = conf.settings().database
    while _tick(alias) == _BATCH:
        pass
    nearest: datetime | None = _live(alias).aggregate(nearest=Min("next_run_at"))["nearest"]
    if nearest is None:
        return _POLL
    seconds = (nearest - _now(alias)).total_seconds()
    # What is due and was not served is being served by another beat, or held by somebody.
    return min(_POLL, seconds if seconds > 0 else 0.1)


def serve(sleep: Callable[[float], bool]) -> None:
    """Step until told to stop: `sleep(seconds)` returns False then."""
    failures, is_in_step = 0, False
    while True:
        try:
            if not is_in_step:
                synchronise()
                is_in_step = True
            wait = step()
            failures = 0
        except Exception as error:
            failures += 1
            if failures == 1 or failures % 20 == 0:
                is_database = isinstance(error, OperationalError | InterfaceError)
                logger.warning("beat: %s", str(error).strip(), exc_info=not is_database)
            connections.close_all()
            wait = lifecycle.pause_after(failures)
        if not sleep(wait):
            return


def _live(alias: str) -> QuerySet[Schedule]:
    return Schedule.objects.using(alias).filter(enabled=True, next_run_at__isnull=False)


def _tick(alias: str) -> int:
    """Enqueue one batch of due schedules, in one transaction; how many there were."""
    with transaction.atomic(using=alias):
        due = list(
            _live(alias)
            .select_for_update(skip_locked=True, no_key=True)
            .filter(next_run_at__lte=Now())
            .order_by("next_run_at")[:_BATCH]
        )
        now = _now(alias) if due else None
        for schedule in due:
            assert now is not None
            _serve_one(alias, schedule, now)
    return len(due)


def _serve_one(alias: str, schedule: Schedule, now: datetime) -> None:
    """Enqueue one schedule's tick; a bad one is shown as bad and never stops the others."""
    try:
        with transaction.atomic(using=alias):
            _fire(alias, schedule, now)
    except Exception as error:
        if not connections[alias].is_usable():
            raise
        logger.error("schedule %s: %s: %s", schedule, type(error).__name__, error)
        Schedule.objects.using(alias).filter(pk=schedule.pk).update(
            problem=clean(f"{type(error).__name__}: {error}"),
            next_run_at=now + _TRY_AGAIN,
        )


def _fire(alias: str, schedule: Schedule, now: datetime) -> None:
    """Move `last_tick` forward and insert the job; a tick that was served already is not."""
    assert schedule.next_run_at is not None
    first = schedule.next_run_at
    if schedule.problem:
        # What is due is the try, not a tick: find the tick that was missed.
        found = schedule.next_after(schedule.last_tick or schedule.created_at)
        if found is None or found > now:
            Schedule.objects.using(alias).filter(pk=schedule.pk).update(
                next_run_at=found, problem=""
            )
            return
        first = found
    tick, following = cron.latest_tick(
        schedule.rule, first=first, now=now, default_zone=django_settings.TIME_ZONE
    )
    moved = (
        Schedule.objects.using(alias)
        .filter(Q(last_tick__isnull=True) | Q(last_tick__lt=tick), pk=schedule.pk)
        .update(last_tick=tick, next_run_at=following, problem="")
    )
    if not moved:
        Schedule.objects.using(alias).filter(pk=schedule.pk).update(next_run_at=following)
        return
    task = resolve(schedule.task)
    kept = schedule.arguments
    args = tuple(codec.decode(value, load) for value in kept["args"])
    kwargs = {name: codec.decode(value, load) for name, value in kept["kwargs"].items()}
    job = call.insert_one(task, args, kwargs, schedule_id=schedule.pk, tick=tick)
    Schedule.objects.using(alias).filter(pk=schedule.pk).update(last_job_id=job.pk)


def _now(alias: str) -> datetime:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now
