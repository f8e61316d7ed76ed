"""Take over the schedules of django-celery-beat, read from its tables.

Each periodic task becomes a schedule made by hand, of the same name. What cannot be taken over
is told with the reason, and nothing of it is kept. Those that were taken over before are left as
they are, so the command may be run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connections, transaction
from django.utils import timezone

from jobs import beat, conf, cron
from jobs.errors import InvalidSchedule, JobsError, TaskNotAllowed, TaskNotFound
from jobs.models import Schedule
from jobs.models.schedule import columns_of
from jobs.tasks import resolve

HELP = "take over the schedules of django-celery-beat"
_ROWS = """
SELECT
    task.name, task.task, task.args, task.kwargs, task.queue, task.exchange, task.routing_key,
    task.headers, task.priority, task.expires, task.expire_seconds, task.one_off,
    task.start_time, task.enabled, task.last_run_at, task.description,
    crontab.minute, crontab.hour, crontab.day_of_month, crontab.month_of_year,
    crontab.day_of_week, crontab.timezone,
    interval.every, interval.period,
    clocked.clocked_time,
    solar.event, solar.latitude, solar.longitude
FROM django_celery_beat_periodictask AS task
LEFT JOIN django_celery_beat_crontabschedule AS crontab ON crontab.id = task.crontab_id
LEFT JOIN django_celery_beat_intervalschedule AS interval ON interval.id = task.interval_id
LEFT JOIN django_celery_beat_clockedschedule AS clocked ON clocked.id = task.clocked_id
LEFT JOIN django_celery_beat_solarschedule AS solar ON solar.id = task.solar_id
ORDER BY task.name
"""
# What Celery itself puts there, for its own tables.
_CELERYS_OWN = "celery.backend_cleanup"
_LOST = ("exchange", "routing_key", "headers", "priority")


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one periodic task: a schedule, or the reason why not."""

    name: str
    row: Schedule | None
    words: str
    lost: tuple[str, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="tell, and write nothing")
    parser.add_argument("--disabled", action="store_true", help="take them over switched off")
    parser.add_argument(
        "--from-database",
        default="default",
        metavar="ALIAS",
        help="where Celery's tables are (default: default)",
    )


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    taken = list(_taken(_periodic_tasks(options["from_database"])))
    rows = [one.row for one in taken if one.row is not None]
    for row in rows:
        row.enabled = row.enabled and not options["disabled"]
    if not options["dry_run"]:
        with transaction.atomic(using=conf.settings().database):
            Schedule.objects.using(conf.settings().database).bulk_create(rows)
    _tell(command, taken, options)


def _tell(command: BaseCommand, taken: list[Taken], options: Mapping[str, Any]) -> None:
    style, width = command.style, max((len(one.name) for one in taken), default=0)
    for one in taken:
        mark = style.WARNING("left ") if one.row is None else style.SUCCESS("taken")
        command.stdout.write(f"{mark}  {one.name.ljust(width)}  {one.words}")
        for what in one.lost:
            command.stdout.write(style.WARNING(f"       {' ' * width}  not taken over: {what}"))
    count = sum(one.row is not None for one in taken)
    verb = "would be taken over" if options["dry_run"] else "taken over"
    command.stdout.write(f"{count} of {len(taken)} {verb}")
    if any(one.row is not None and one.row.enabled for one in taken):
        command.stdout.write(
            "Celery's beat goes on firing its own: stop it, or disable them there. "
            "(--disabled takes them over switched off.)"
        )


def _periodic_tasks(alias: str) -> list[dict[str, Any]]:
    if alias not in connections.settings:
        raise CommandError(
            f"there is no database {alias!r}; there are: {', '.join(connections.settings)}"
        )
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute(_ROWS)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except Error as error:
        raise CommandError(
            f"the tables of django-celery-beat cannot be read: {str(error).strip()}"
        ) from error


def _taken(rows: Iterable[Mapping[str, Any]]) -> Iterable[Taken]:
    there = set(Schedule.objects.using(conf.settings().database).values_list("name", flat=True))
    for given in rows:
        name = given["name"]
        if given["task"] == _CELERYS_OWN:
            yield Taken(name, None, "Celery's own, for its own tables")
        elif name in there:
            yield Taken(name, None, "there is a schedule of that name already")
        else:
            try:
                plan = _plan(given)
                task = resolve(given["task"])
                row = Schedule(
                    name=name,
                    task=task.name,
                    arguments=beat.encoded(task, plan),
                    enabled=given["enabled"],
                    **columns_of(plan),
                )
            except (JobsError, ImportError, ValueError, OverflowError) as error:
                yield Taken(name, None, f"{error}{_hint(error)}")
            else:
                yield Taken(name, row, _words(plan, given), tuple(_lost(given)))


def _hint(error: Exception) -> str:
    if isinstance(error, TaskNotFound | TaskNotAllowed):
        return " If it goes by another name now: JOBS['TASK_ALIASES'] = {old: new}."
    return ""


def _words(plan: cron.Plan, given: Mapping[str, Any]) -> str:
    words = [cron.in_words(plan.rule)]
    for name in ("queue_name", "starts_at", "ends_at", "expires_after", "max_runs"):
        value = getattr(plan, name)
        if value is not None:
            words.append(f"{name} {value}")
    if not given["enabled"]:
        words.append("off")
    return "; ".join(words)


def _plan(given: Mapping[str, Any]) -> cron.Plan:
    """Its schedule, in our words; InvalidSchedule where we have none."""
    expires = given["expire_seconds"]
    said = {
        "args": json.loads(given["args"] or "[]"),
        "kwargs": json.loads(given["kwargs"] or "{}"),
        "description": given["description"] or "",
        "queue_name": given["queue"] or None,
        "starts_at": given["start_time"],
        "ends_at": given["expires"],
        "expires_after": None if expires is None else timedelta(seconds=expires),
        "max_runs": 1 if given["one_off"] and given["clocked_time"] is None else None,
    }
    rule = _rule(given)
    return cron.as_plan(rule, **{name: value for name, value in said.items() if value is not None})


def _rule(given: Mapping[str, Any]) -> cron.Rule:
    if given["minute"] is not None:
        fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        words = ["".join(str(given[field]).split()) for field in fields]
        # Where both are restricted, Celery wants both to fit.
        both = words[2] != "*" and words[4] != "*"
        zone = str(given["timezone"]) if given["timezone"] else None
        return cron.Cron(" ".join(words), zone, "both" if both else "either")
    if given["every"] is not None:
        interval = timedelta(**{given["period"]: given["every"]})
        return cron.Every(interval, _anchor(given))
    if given["clocked_time"] is not None:
        moment: datetime = given["clocked_time"]
        if moment <= timezone.now():
            raise InvalidSchedule(f"its moment has passed: {moment:%Y-%m-%d %H:%M:%S %Z}")
        return cron.At(moment)
    if given["event"] is not None:
        return cron.Solar(given["event"], float(given["latitude"]), float(given["longitude"]))
    raise InvalidSchedule("it has no schedule")


def _anchor(given: Mapping[str, Any]) -> datetime:
    """A tick to be in phase with: Celery counts from the last run."""
    found: datetime = given["last_run_at"] or given["start_time"] or timezone.now()
    return found.replace(microsecond=0)


def _lost(given: Mapping[str, Any]) -> Iterable[str]:
    for name in _LOST:
        if given[name] not in (None, "", "{}"):
            yield f"{name} {given[name]}"
