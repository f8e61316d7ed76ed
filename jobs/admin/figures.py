"""What the overview shows, read in few queries: small tables, the claim's index so far and no
further, and the statistics; never the jobs that have ended.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections

from jobs import conf, histogram
from jobs.models import Job, Queue, Schedule, Statistic, Worker

# Nobody tells ten thousand from more.
MOST = 10_000
# Of running jobs, so many are looked at.
_MOST_RUNNING = 2_000

_NOW = """
SELECT
    queue.name, first.ready, first.oldest, later.scheduled
FROM jobs_queue AS queue
CROSS JOIN LATERAL (
    SELECT
        count(*) AS ready,
        extract(epoch FROM statement_timestamp() - min(run_at))::float8 AS oldest
    FROM (
        SELECT run_at
        FROM jobs_job
        WHERE claimable AND queue_name = queue.name AND run_at <= statement_timestamp()
        LIMIT %(most)s
    ) AS ready
) AS first
CROSS JOIN LATERAL (
    SELECT count(*) AS scheduled
    FROM (
        SELECT
        FROM jobs_job
        WHERE claimable AND queue_name = queue.name AND run_at > statement_timestamp()
        LIMIT %(most)s
    ) AS later
) AS later
"""


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


@dataclass(slots=True)
class Sums:
    """What some statistics come to."""

    counts: Counter[str] = field(default_factory=Counter)
    waits: list[int] = field(default_factory=lambda: [0] * histogram.BUCKETS)
    runs: list[int] = field(default_factory=lambda: [0] * histogram.BUCKETS)
    ready: int | None = None

    def add(self, row: Statistic) -> None:
        for name in ("succeeded", "failed", "retried", "cancelled", "snoozed", "lost"):
            self.counts[name] += getattr(row, name)
        _plus(self.waits, row.waits)
        _plus(self.runs, row.runs)
        if row.ready is not None:
            self.ready = (self.ready or 0) + row.ready

    @property
    def ended(self) -> int:
        return sum(self.counts[name] for name in ("succeeded", "failed", "cancelled"))

    @property
    def attempts(self) -> int:
        return sum(self.counts.values()) - self.counts["snoozed"]

    @property
    def bad(self) -> int:
        return sum(self.counts[name] for name in ("failed", "retried", "lost"))

    def wait(self, share: float) -> float | None:
        return histogram.quantile(self.waits, share)

    def run(self, share: float) -> float | None:
        return histogram.quantile(self.runs, share)


def _plus(sums: list[int], counts: Sequence[int]) -> None:
    for place, count in enumerate(counts):
        if count:
            sums[min(place, histogram.BUCKETS - 1)] += count


@dataclass(slots=True)
class QueueNow:
    name: str
    ready: int
    oldest: float | None
    scheduled: int
    running: int
    paused_by: str | None
    workers: int
    sums: Sums


@dataclass(slots=True)
class WorkerNow:
    worker: Worker
    running: list[Job[Any]]
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


def read(span: Span, *, queue_name: str = "", task: str = "") -> Overview:
    """All of it; charts of one queue, or task, if asked for."""
    alias = conf.settings().database
    rows, now = _statistics(alias, max(span.length, timedelta(hours=1)))
    hour_ago = now - timedelta(hours=1)
    by_queue: defaultdict[str, Sums] = defaultdict(Sums)
    by_task: defaultdict[str, Sums] = defaultdict(Sums)
    for row in rows:
        if row.starts_at >= hour_ago and row.task:
            by_queue[row.queue_name].add(row)
            by_task[row.task].add(row)
    shown = (
        row
        for row in rows
        if (not queue_name or row.queue_name == queue_name)
        # Samples are of a queue, whatever its tasks.
        and (not task or row.task in (task, ""))
    )
    running = list(
        Job.objects.using(alias)
        .running()
        .only("id", "task", "queue_name", "worker", "last_attempted_at")
        .order_by("last_attempted_at")[:_MOST_RUNNING]
    )
    workers = list(Worker.objects.using(alias))
    return Overview(
        now=now,
        queues=_queues(alias, workers, Counter(job.queue_name for job in running), by_queue),
        workers=_workers(workers, running, now),
        tasks=dict(by_task),
        columns=_columns(shown, span, now),
        late=_late(alias, now),
    )


def _statistics(alias: str, length: timedelta) -> tuple[list[Statistic], datetime]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        [now] = cursor.fetchone()
    return list(Statistic.objects.using(alias).filter(starts_at__gte=now - length)), now


def _queues(
    alias: str, workers: list[Worker], running: Counter[str], by_queue: dict[str, Sums]
) -> list[QueueNow]:
    paused = {
        queue.name: queue.paused_by
        for queue in Queue.objects.using(alias).filter(paused_at__isnull=False)
    }
    with connections[alias].cursor() as cursor:
        cursor.execute(_NOW, {"most": MOST + 1})
        rows = cursor.fetchall()
    return sorted(
        (
            QueueNow(
                name=name,
                ready=ready,
                oldest=oldest,
                scheduled=scheduled,
                running=running[name],
                paused_by=paused.get(name),
                workers=sum(_serves(worker, name) for worker in workers),
                sums=by_queue.get(name) or Sums(),
            )
            for name, ready, oldest, scheduled in rows
        ),
        key=lambda queue: queue.name,
    )


def _serves(worker: Worker, queue_name: str) -> bool:
    if queue_name in (worker.excluded_queues or ()):
        return False
    return worker.queues is None or queue_name in worker.queues


def _workers(workers: list[Worker], running: list[Job[Any]], now: datetime) -> list[WorkerNow]:
    own: defaultdict[str, list[Job[Any]]] = defaultdict(list)
    for job in running:
        # "name/1": the runner's number stands behind it.
        own[(job.worker or "").rpartition("/")[0]].append(job)
    return [
        WorkerNow(worker, own[worker.name], (now - worker.heartbeat_at).total_seconds())
        for worker in workers
    ]


def _columns(rows: Iterable[Statistic], span: Span, now: datetime) -> list[Sums]:
    columns = [Sums() for _ in range(span.columns)]
    # What ready jobs there were is a level: of the samples of a column and a queue, the highest.
    ready: dict[tuple[int, str], int] = {}
    last = int(now.timestamp()) // span.column
    for row in rows:
        place = span.columns - 1 - (last - int(row.starts_at.timestamp()) // span.column)
        if not 0 <= place < span.columns:
            continue
        if row.ready is not None:
            key = (place, row.queue_name)
            ready[key] = max(ready.get(key, 0), row.ready)
            continue
        columns[place].add(row)
    for (place, _), count in ready.items():
        columns[place].ready = (columns[place].ready or 0) + count
    return columns


def _late(alias: str, now: datetime) -> list[Schedule]:
    """Schedules that no beat serves."""
    due = Schedule.objects.using(alias).filter(
        enabled=True, retired_at=None, next_run_at__lt=now - timedelta(minutes=1)
    )
    return list(due.order_by("next_run_at")[:5])


def beginning(span: Span, now: datetime, place: int) -> datetime:
    """When a column begins."""
    last = int(now.timestamp()) // span.column
    return datetime.fromtimestamp((last - span.columns + 1 + place) * span.column, UTC)
