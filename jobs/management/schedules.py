"""The schedules: when each runs, its last run and what came of it, and what is wrong with any."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand
from django.utils.timezone import localtime, now

from jobs import conf, cron
from jobs.errors import InvalidSchedule
from jobs.models import Job, Schedule, State

HELP = "list the schedules with their last and next runs"
_TITLES = ("name", "task", "when", "next run", "last run", "runs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="those that are retired, too")


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    alias = conf.settings().database
    rows = Schedule.objects.using(alias).order_by("name")
    if not options["all"]:
        rows = rows.filter(retired_at=None)
    found = list(rows)
    if not found:
        command.stdout.write("no schedules")
        return
    last = Job.objects.using(alias).in_bulk([row.last_job_id for row in found if row.last_job_id])
    table = [_cells(row, last.get(row.last_job_id)) for row in found]
    widths = [max(map(len, column)) for column in zip(_TITLES, *table, strict=True)]
    command.stdout.write(command.style.MIGRATE_HEADING(_line(_TITLES, widths)))
    for row, cells in zip(found, table, strict=True):
        line = _line(cells, widths)
        is_on = row.enabled and not row.retired_at
        command.stdout.write(line if is_on else command.style.WARNING(line))
        if (late := row.late_by(now())) is not None:
            command.stdout.write(command.style.ERROR(f"    late: no beat has served it for {late}"))
        if row.problem:
            command.stdout.write(command.style.ERROR(f"    {row.problem}"))
        if row.skips:
            told = f"    skipped {row.skips} times, last because: {row.skipped_because}"
            command.stdout.write(told)
    hidden = Schedule.objects.using(alias).exclude(retired_at=None).count()
    if hidden and not options["all"]:
        command.stdout.write(f"({hidden} retired: --all shows them, too)")


def _cells(row: Schedule, job: Job[Any] | None) -> tuple[str, ...]:
    try:
        when = cron.in_words(row.rule)
    except InvalidSchedule as error:
        when = str(error)
    return (row.name, row.task, when, _next(row), _last(row, job), f"{row.runs:,}")


def _next(row: Schedule) -> str:
    if row.retired_at is not None:
        return "retired"
    if not row.enabled:
        return "disabled"
    if row.next_run_at is not None:
        return _moment(row.next_run_at)
    return "once a beat has planned it" if row.stale_since is not None else "ended"


def _last(row: Schedule, job: Job[Any] | None) -> str:
    if job is not None:
        return f"{_moment(job.enqueued_at)} {State(job.state).label}"
    return _moment(row.last_tick) if row.last_tick else "–"


def _moment(value: Any) -> str:
    # The rule beside it may be of another zone.
    return f"{localtime(value):%Y-%m-%d %H:%M:%S %Z}"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()
