"""What the overview shows, read in few queries: small tables, the claim's index so far and no
further, and the statistics; never the jobs that have ended.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import add
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections
from django.db.models import Q

from jobs import conf, histogram, ids
from jobs.lifecycle.statements import statement
from jobs.models import PausedTask, Queue, Schedule, Statistic, Worker
from jobs.models.statistic import HOUR, MINUTE, TEN_MINUTES

# Nobody tells ten thousand from more.
MOST = 10_000
# Of jobs that runners hold, so many are looked at.
MOST_HELD = 5_000

_NOW = """
SELECT queue.name, ready.count, later.count
FROM jobs_queue AS queue
CROSS JOIN LATERAL (
    SELECT count(*)
    FROM (
        SELECT
        FROM jobs_job
        WHERE claimable AND queue_name = queue.name AND run_at <= statement_timestamp()
        LIMIT %(most)s
    ) AS found
) AS ready
CROSS JOIN LATERAL (
    SELECT count(*)
    FROM (
        SELECT
        FROM jobs_job
        WHERE claimable AND queue_name = queue.name AND run_at > statement_timestamp()
        LIMIT %(most)s
    ) AS found
) AS later
"""
# Through the claims, which are few: what runners hold, those that stand in line there among them.
_HELD = """
SELECT member.worker_id, job.queue_name, job.id, job.task, job.last_attempted_at
FROM (
    SELECT claim.worker_id, member.id
    FROM jobs_claim AS claim
    CROSS JOIN LATERAL unnest(claim.ids) AS member (id)
    LIMIT %(most)s
) AS member
CROSS JOIN LATERAL (
    SELECT queue_name, id, task, last_attempted_at
    FROM jobs_job
    WHERE id = member.id AND state = 'running'
    OFFSET 0
) AS job
ORDER BY job.last_attempted_at, job.id
"""
# How many jobs came into each queue of late: of the last minute the newest, so many at most; and
# for how many seconds they reach back.
_CAME = """
WITH came AS MATERIALIZED (
    SELECT queue_name, enqueued_at
    FROM jobs_job
    WHERE id >= %(since)s::uuid
    ORDER BY id DESC
    LIMIT %(most)s
)
SELECT
    queue_name,
    count(*),
    (SELECT extract(epoch FROM statement_timestamp() - min(enqueued_at))::float8 FROM came)
FROM came
GROUP BY queue_name
"""
_COUNTED = ("succeeded", "failed", "retried", "cancelled", "snoozed", "lost")
_ENDED = ("succeeded", "failed", "cancelled")
_COLUMNS = ("starts_at", "queue_name", "task", *_COUNTED, "waits", "runs", "ready")


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


class Row(NamedTuple):
    """A statistic, as far as it is shown."""

    starts_at: datetime
    queue_name: str
    task: str
    counts: tuple[int, ...]
    waits: list[int]
    runs: list[int]
    ready: int | None

    @property
    def ended(self) -> int:
        return sum(self.counts[_COUNTED.index(name)] for name in _ENDED)


@dataclass(slots=True)
class Sums:
    """What some statistics come to."""

    counts: Counter[str] = field(default_factory=Counter)
    waits: list[int] = field(default_factory=lambda: [0] * histogram.BUCKETS)
    runs: list[int] = field(default_factory=lambda: [0] * histogram.BUCKETS)
    ready: int | None = None

    def add(self, row: Row) -> None:
        for name, count in zip(_COUNTED, row.counts, strict=True):
            self.counts[name] += count
        _plus(self.waits, row.waits)
        _plus(self.runs, row.runs)

    @property
    def ended(self) -> int:
        return sum(self.counts[name] for name in _ENDED)

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
    sums[: len(counts)] = map(add, sums, counts[: len(sums)])


@dataclass(slots=True)
class QueueNow:
    name: str
    ready: int
    # For how long the first has been ready, in seconds, whatever its priority; None: unknown.
    oldest: float | None
    scheduled: int
    held: int
    # The row of a queue that is paused now.
    pause: Queue | None
    workers: int
    sums: Sums
    # Jobs in a minute, of late.
    came: float
    went: float


class Held(NamedTuple):
    """A job that a runner holds: it runs, or stands in line there."""

    worker_id: UUID
    queue_name: str
    id: UUID
    task: str
    since: datetime | None


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


def read(span: Span, *, queue_name: str = "", task: str = "") -> Overview:
    """All of it; charts of one queue, or task, if asked for."""
    alias = conf.settings().database
    rows, now = _statistics(alias, max(span.length, timedelta(hours=1)))
    hour_ago = now - timedelta(hours=1)
    by_queue: defaultdict[str, Sums] = defaultdict(Sums)
    by_task: defaultdict[str, Sums] = defaultdict(Sums)
    went: Counter[str] = Counter()
    # The last minute that is over, in which all have told what they had to.
    minute = now.replace(second=0, microsecond=0) - timedelta(minutes=1)
    for row in rows:
        if row.starts_at == minute:
            went[row.queue_name] += row.ended
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
    held = _held(alias)
    workers = list(Worker.objects.using(alias))
    return Overview(
        now=now,
        queues=_queues(alias, workers, Counter(job.queue_name for job in held), by_queue, went),
        workers=_workers(workers, held, now),
        tasks=dict(by_task),
        columns=_columns(shown, span, now),
        late=_late(alias, now),
        paused_tasks=list(
            PausedTask.objects.using(alias).exclude(paused_until__lte=now).order_by("name")
        ),
    )


def _statistics(alias: str, length: timedelta) -> tuple[list[Row], datetime]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        [now] = cursor.fetchone()
    found = Statistic.objects.using(alias).filter(
        # All there are: the index begins with it.
        seconds__in=(MINUTE, TEN_MINUTES, HOUR),
        starts_at__gte=now - length,
    )
    return [
        Row(one[0], one[1], one[2], one[3:-3], one[-3], one[-2], one[-1])
        for one in found.values_list(*_COLUMNS).iterator(chunk_size=5_000)
    ], now


def _held(alias: str) -> list[Held]:
    with connections[alias].cursor() as cursor:
        cursor.execute(_HELD, {"most": MOST_HELD})
        return [Held(*row) for row in cursor.fetchall()]


def _queues(
    alias: str,
    workers: list[Worker],
    held: Counter[str],
    by_queue: dict[str, Sums],
    went: Counter[str],
) -> list[QueueNow]:
    paused = {queue.name: queue for queue in Queue.objects.using(alias).paused()}
    with connections[alias].cursor() as cursor:
        cursor.execute(_NOW, {"most": MOST + 1})
        rows = cursor.fetchall()
        # The first of each lane, as runners look for it; of paused queues, none.
        cursor.execute(statement("look"))
        ages: dict[str, float] = {}
        for name, _, run_at, _, now in cursor.fetchall():
            if name is not None:
                ages[name] = max(now - run_at, ages.get(name, 0.0))
        came = _came(cursor)
    return sorted(
        (
            QueueNow(
                name=name,
                ready=ready,
                oldest=ages.get(name) if ready else None,
                scheduled=scheduled,
                held=held[name],
                pause=paused.get(name),
                workers=sum(_serves(worker, name) for worker in workers),
                sums=by_queue.get(name) or Sums(),
                came=came.get(name, 0.0),
                went=went[name],
            )
            for name, ready, scheduled in rows
        ),
        key=lambda queue: queue.name,
    )


def _came(cursor: Any) -> dict[str, float]:
    """Jobs in a minute."""
    cursor.execute(_CAME, {"since": ids.first_of(timedelta(minutes=1)), "most": MOST})
    rows = cursor.fetchall()
    is_cut = sum(row[1] for row in rows) >= MOST
    return {name: count * 60 / max(0.001, age) if is_cut else count for name, count, age in rows}


def _serves(worker: Worker, queue_name: str) -> bool:
    if queue_name in (worker.excluded_queues or ()):
        return False
    return worker.queues is None or queue_name in worker.queues


def _workers(workers: list[Worker], held: list[Held], now: datetime) -> list[WorkerNow]:
    own: defaultdict[UUID, list[Held]] = defaultdict(list)
    for job in held:
        own[job.worker_id].append(job)
    return [
        WorkerNow(worker, own[worker.pk], (now - worker.heartbeat_at).total_seconds())
        for worker in workers
    ]


def _columns(rows: Iterable[Row], span: Span, now: datetime) -> list[Sums]:
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
    """Schedules that no beat serves, or has planned."""
    minute_ago = now - timedelta(minutes=1)
    due = Schedule.objects.using(alias).filter(
        Q(next_run_at__lt=minute_ago) | Q(stale_since__lt=minute_ago),
        enabled=True,
        retired_at=None,
    )
    return list(due.order_by("next_run_at", "name")[:5])


def beginning(span: Span, now: datetime, place: int) -> datetime:
    """When a column begins."""
    last = int(now.timestamp()) // span.column
    return datetime.fromtimestamp((last - span.columns + 1 + place) * span.column, UTC)
