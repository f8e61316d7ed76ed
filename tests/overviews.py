"""A busy hour of a shop's: for tests of the overview, and for its pictures in the docs."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from jobs import histogram, ids
from jobs.models import Claim, Job, Queue, Statistic, Worker
from jobs.testing import make_job

# (queue, task, jobs in a minute, share that fails, seconds)
TASKS = [
    ("default", "shop.tasks.send_receipt", 120, 0.002, 0.18),
    ("default", "shop.tasks.update_stock", 340, 0.0, 0.012),
    ("payments", "shop.tasks.charge_card", 24, 0.17, 1.4),
    ("reports", "shop.tasks.monthly_report", 2, 0.0, 41.0),
    ("search", "wagtail.tasks.update_reference_index_task", 15, 0.0, 0.09),
]


def a_busy_hour(minutes: int = 60, *, seed: int = 7) -> None:
    chance = random.Random(seed)
    rows = []
    for ago in range(minutes):
        wave = 1 + 0.4 * math.sin(ago / 9)
        for queue_name, task, pace, share, seconds in TASKS:
            count = max(0, round(chance.gauss(pace * wave, math.sqrt(pace))))
            bad = sum(chance.random() < share for _ in range(count))
            rows.append(_minute(ago, queue_name, task, chance, count, bad, seconds))
        for queue_name in {task[0] for task in TASKS}:
            ready = max(0, round(chance.gauss(40 if queue_name == "payments" else 4, 6)))
            rows.append(_row(ago, queue_name, "", ready=ready, oldest=ready / 9))
    Statistic.objects.bulk_create(rows)
    _now()


def _minute(
    ago: int,
    queue_name: str,
    task: str,
    chance: random.Random,
    count: int,
    bad: int,
    seconds: float,
) -> Statistic:
    waits, runs = [0] * histogram.BUCKETS, [0] * histogram.BUCKETS
    for _ in range(count):
        waits[histogram.bucket(chance.lognormvariate(math.log(0.02), 1))] += 1
        runs[histogram.bucket(chance.lognormvariate(math.log(seconds), 0.4))] += 1
    return _row(
        ago,
        queue_name,
        task,
        succeeded=count - bad,
        failed=bad - bad // 2,
        retried=bad // 2,
        waits=histogram.trimmed(waits),
        runs=histogram.trimmed(runs),
    )


def _row(ago: int, queue_name: str, task: str, **columns: Any) -> Statistic:
    return Statistic(
        starts_at=Now() - timedelta(minutes=ago), queue_name=queue_name, task=task, **columns
    )


def _now() -> None:
    for queue_name in sorted({task[0] for task in TASKS}):
        Queue.objects.get_or_create(name=queue_name)
    for name in ("web-1", "web-2"):
        Worker.objects.create(
            id=ids.uuid7(), name=name, host=name, pid=1, protocol=1, version="0.1.0",
            excluded_queues=[], processes=4, threads=1, coroutines=100, runners=[], idle=[],
            started_at=Now() - timedelta(hours=7),
        )  # fmt: skip
    for i, (queue_name, task, *_) in enumerate(TASKS):
        make_job(
            task, [i], state="running", queue_name=queue_name, worker=f"web-{1 + i % 2}/1",
            last_attempted_at=Now() - timedelta(seconds=3 * i),
        )  # fmt: skip
        make_job(task, [i], queue_name=queue_name)
    for text in ("402: insufficient funds", "402: card expired"):
        make_job(
            "shop.tasks.charge_card", [7], state="failed", queue_name="payments",
            error=PermissionError(text),
        )  # fmt: skip
    Job.objects.queued().update(run_at=Now() - timedelta(seconds=2))
    workers = list(Worker.objects.order_by("name"))
    for i, claim in enumerate(Claim.objects.order_by("id")):
        Claim.objects.filter(pk=claim.pk).update(worker_id=workers[i % 2].pk)
