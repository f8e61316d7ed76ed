"""What the overview shows, read in three queries: small tables, the claim's index so far and no
further, and the statistics; of the jobs that have ended only those of the newest errors.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db import connections
from django.db.models import Model

from jobs import conf, ids
from jobs.lifecycle.statements import read_all
from jobs.models import DeadWorker, PausedTask, Queue, Schedule, Worker
from jobs.models.statistic import HOUR, MINUTE

from ..words import MOST
from .sums import Row, Sums, packed

M = TypeVar("M", bound=Model)
# Of jobs that runners hold, of errors, and of failures of a silenced kind, so many are looked at.
MOST_HELD, MOST_ERRORS, MOST_QUIET = 5_000, 500, 1_000

_STATEMENTS = read_all(Path(__file__).parent)


@dataclass(frozen=True, slots=True)
class Span:
    """A range that charts are drawn of: how long, in columns of how many seconds."""

    name: str
    length: timedelta
    column: int

    @property
    def columns(self) -> int:
        return int(self.length.total_seconds()) // self.column


SPANS = {
    span.name: span
    for span in (
        Span("hour", timedelta(hours=1), 60),
        Span("day", timedelta(days=1), 1200),
        Span("week", timedelta(days=7), 10_800),
    )
}


class Line(NamedTuple):
    """What waits in a queue."""

    name: str
    ready: int
    # For how long the first has been ready, in seconds; None: there is none.
    oldest: float | None
    scheduled: int
    waiting: int
    # Jobs enqueued in a minute, of late.
    came: float


@dataclass(slots=True)
class QueueNow:
    line: Line
    held: int
    # The row of a queue that is paused now.
    pause: Queue | None
    workers: int
    # Of the last hour.
    sums: Sums
    # Jobs ended in a minute, of late.
    went: int

    @property
    def name(self) -> str:
        return self.line.name

    @property
    def ready(self) -> int:
        return self.line.ready

    @property
    def oldest(self) -> float | None:
        return self.line.oldest


class Held(NamedTuple):
    """A job that a runner holds: it runs, or stands in line there."""

    worker_id: UUID
    queue_name: str
    id: UUID
    task: str
    since: datetime | None

    @classmethod
    def of(cls, row: dict[str, Any]) -> Held:
        since = row["since"] and datetime.fromisoformat(row["since"])
        return cls(UUID(row["worker_id"]), row["queue_name"], UUID(row["id"]), row["task"], since)


class LastError(NamedTuple):
    job_id: UUID
    exception_class_path: str
    message: str


class Refused(NamedTuple):
    """What PostgreSQL has refused of late, of one kind."""

    subject: str
    many: int
    # The newest refusal: the id of its job or schedule, and PostgreSQL's message.
    key: str
    message: str


@dataclass(slots=True)
class WorkerNow:
    worker: Worker
    held: list[Held]
    silent_for: float


@dataclass(slots=True)
class Overview:
    now: datetime
    queues: list[QueueNow]
    workers: list[WorkerNow]
    # Of the last hour, by task.
    tasks: dict[str, Sums]
    # Of the span, oldest first.
    columns: list[Sums]
    late: list[Schedule]
    paused_tasks: list[PausedTask]
    # By task.
    errors: dict[str, LastError]
    # Failures of the last hour about which nobody wants to hear, by task.
    quiet: dict[str, int]
    # See health.py.
    health: dict[str, Any]
    dead: list[DeadWorker]
    refused: list[Refused]
    has_schedules: bool


class Small(NamedTuple):
    """What is quickly read."""

    now: datetime
    workers: list[Worker]
    held: list[Held]
    queues: list[Queue]
    tasks: list[PausedTask]
    late: list[Schedule]
    errors: dict[str, LastError]
    quiet: dict[str, int]
    health: dict[str, Any]
    dead: list[DeadWorker]
    refused: list[Refused]
    has_schedules: bool


def read(
    span: Span, *, queue_name: str = "", task: str = "", with_errors: bool = False
) -> Overview:
    """All of it, in three statements; charts of one queue, or task, if asked for."""
    alias = conf.settings().database
    with connections[alias].cursor() as cursor:
        small = _small(cursor, with_errors=with_errors)
        now = small.now
        lines = read_lines(cursor)
        since = now - max(span.length, timedelta(hours=1))
        rows = _statistics(cursor, since, queue_name=queue_name, task=task)
    hour_ago = now.timestamp() - HOUR
    by_queue: defaultdict[str, Sums] = defaultdict(Sums)
    by_task: defaultdict[str, Sums] = defaultdict(Sums)
    went: defaultdict[str, Sums] = defaultdict(Sums)
    # The last minute that is over, in which all have told what they had to.
    minute = (int(now.timestamp()) // MINUTE - 1) * MINUTE
    for row in rows:
        if row.starts_at < hour_ago or not row.task:
            continue
        by_queue[row.queue_name].add(row)
        by_task[row.task].add(row)
        if row.starts_at == minute:
            went[row.queue_name].add(row)
    shown = (
        row
        for row in rows
        if (not queue_name or row.queue_name == queue_name)
        # Samples are of a queue, whatever its tasks.
        and (not task or row.task == task or row.ready is not None)
    )
    counts = Counter(job.queue_name for job in small.held)
    paused = {queue.name: queue for queue in small.queues}
    return Overview(
        now=now,
        queues=[
            QueueNow(
                line,
                held=counts[line.name],
                pause=paused.get(line.name),
                workers=sum(worker.serves(line.name) for worker in small.workers),
                sums=by_queue.get(line.name) or Sums(),
                went=went[line.name].ended,
            )
            for line in lines
        ],
        workers=_workers(small, now),
        tasks=dict(by_task),
        columns=_columns(shown, span, now),
        late=small.late,
        paused_tasks=small.tasks,
        errors=small.errors,
        quiet=small.quiet,
        health=small.health,
        dead=small.dead,
        refused=small.refused,
        has_schedules=small.has_schedules,
    )


def _small(cursor: Any, *, with_errors: bool) -> Small:
    parameters = {
        "most": MOST_HELD,
        "errors": MOST_ERRORS if with_errors else 0,
        "quiet": MOST_QUIET,
    }
    cursor.execute(_STATEMENTS["now"], parameters)
    (
        now, workers, held, dead, refused, has_schedules, queues, tasks, late, errors, quiet,
        health,
    ) = cursor.fetchone()  # fmt: skip
    return Small(
        now,
        _instances(Worker, workers),
        [Held.of(row) for row in json.loads(held)],
        _instances(Queue, queues),
        _instances(PausedTask, tasks),
        _instances(Schedule, late),
        {
            task: LastError(UUID(row["job_id"]), row["exception_class_path"], row["message"])
            for task, row in json.loads(errors).items()
        },
        json.loads(quiet),
        json.loads(health),
        _instances(DeadWorker, dead),
        [Refused(**row) for row in json.loads(refused)],
        has_schedules,
    )


def _instances(model: type[M], rows: str) -> list[M]:
    """As the ORM would have read them."""
    names = {str(field.column): field for field in model._meta.concrete_fields}
    return [
        model(**{field.attname: field.to_python(row[name]) for name, field in names.items()})
        for row in json.loads(rows)
    ]


def read_lines(cursor: Any) -> list[Line]:
    """Of each queue that has a row, by name."""
    since = ids.first_of(timedelta(minutes=1))
    cursor.execute(_STATEMENTS["queues"], {"since": since, "most": MOST + 1})
    lines = []
    for name, ready, oldest, later, waiting, came, of, age in cursor.fetchall():
        # All of a minute's, or as many as were looked at.
        pace = came * 60 / max(0.001, age) if of > MOST else float(came)
        first = None if oldest is None else max(0.0, oldest)
        lines.append(Line(name, ready, first, later, waiting, pace))
    return lines


def _statistics(cursor: Any, since: datetime, *, queue_name: str, task: str) -> list[Row]:
    parameters = {"since": since, "queue_name": queue_name or None, "task": task or None}
    cursor.execute(_STATEMENTS["statistics"], parameters)
    return [
        Row(starts_at, queue_name, task, ready, packed(counts, waits, runs))
        for starts_at, queue_name, task, ready, counts, waits, runs in cursor.fetchall()
    ]


def _workers(small: Small, now: datetime) -> list[WorkerNow]:
    own: defaultdict[UUID, list[Held]] = defaultdict(list)
    for job in small.held:
        own[job.worker_id].append(job)
    return [
        # A snapshot may be younger than the statement's own moment.
        WorkerNow(worker, own[worker.pk], max(0.0, (now - worker.heartbeat_at).total_seconds()))
        for worker in small.workers
    ]


def _columns(rows: Iterable[Row], span: Span, now: datetime) -> list[Sums]:
    columns = [Sums() for _ in range(span.columns)]
    # What ready jobs there were is a level: of the samples of a column and a queue, the highest.
    ready: dict[tuple[int, str], int] = {}
    last, most = int(now.timestamp()) // span.column, span.columns - 1
    for row in rows:
        place = most - last + row.starts_at // span.column
        if not 0 <= place <= most:
            continue
        if row.ready is not None:
            key = (place, row.queue_name)
            ready[key] = max(ready.get(key, 0), row.ready)
            continue
        columns[place].add(row)
    for (place, _), count in ready.items():
        columns[place].ready = (columns[place].ready or 0) + count
    return columns


def locks(alias: str) -> list[Any]:
    """Who holds, or waits for, locks on the tables of jobs that keep others waiting."""
    with connections[alias].cursor() as cursor:
        cursor.execute(_STATEMENTS["locks"], {})
        return list(cursor.fetchall())


def beginning(span: Span, now: datetime, place: int) -> datetime:
    """When a column begins."""
    last = int(now.timestamp()) // span.column
    return datetime.fromtimestamp((last - span.columns + 1 + place) * span.column, UTC)
