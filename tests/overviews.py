"""A busy hour of a shop's, and jobs in all states: for tests of pages, and for pictures of them."""

from __future__ import annotations

import math
import os
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db.models.functions import Now, TruncMinute

from jobs import frames, histogram, ids, lifecycle
from jobs import task as as_task
from jobs.models import Attempt, AttemptLog, Claim, Job, Queue, Statistic, Worker
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
        starts_at=TruncMinute(Now()) - timedelta(minutes=ago),
        queue_name=queue_name,
        task=task,
        **columns,
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


def a_shop() -> dict[str, Job[Any]]:
    """A busy hour, what has gone wrong in it, and jobs worth a look, by what they are."""
    a_busy_hour()
    for i in range(40):
        took = timedelta(seconds=1 + i % 4)
        job = make_job(
            "shop.tasks.charge_card", [1000 + i],
            state="failed" if i % 5 == 0 else "succeeded", queue_name="payments",
            last_attempted_at=Now() - took, finished_at=Now(), worker=f"web-{1 + i % 2}/1",
            error=PermissionError("402: card expired") if i % 5 == 0 else None,
        )  # fmt: skip
    for i, attempt in enumerate(Attempt.objects.order_by("id")):
        ago = timedelta(hours=(i * 7) % 20, minutes=3)
        Attempt.objects.filter(pk=attempt.pk).update(finished_at=Now() - ago)
    for worker in Worker.objects.all():
        running = Claim.objects.filter(worker_id=worker.pk).count()
        Worker.objects.filter(pk=worker.pk).update(
            running=running, pace=4.3, memory=230 * 2**20, ended=108_120
        )
    failed = _of_many_attempts()
    running = make_job(
        monthly_report, ["2026-10"], state="running", worker="web-1/2",
        progress_done=48, progress_total=80, progress_message="pages",
        enqueued_at=Now() - timedelta(minutes=2), run_at=Now() - timedelta(minutes=2),
        last_attempted_at=Now() - timedelta(seconds=40),
    )  # fmt: skip
    _its_like(failed)
    _log(
        running, 1,
        *(("INFO", "shop.reports", f"page {page}: {page * 37} orders") for page in range(44, 49)),
    )  # fmt: skip
    lifecycle.pause("search", by="ada", because="the index is rebuilt")
    lifecycle.pause_task("shop.tasks.update_stock", by="grace", because="stock is counted")
    return {"failed": failed, "running": running, "succeeded": job}


_TRACEBACK = """\
Traceback (most recent call last):
  File "{here}/shop/tasks.py", line 31, in charge_card
    answer = bank.charge(order_id, amount)
             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "{here}/shop/bank.py", line 12, in charge
    return response.json()
           ^^^^^^^^^^^^^^^
  File "/venv/lib/python3.13/site-packages/requests/models.py", line 980, in json
    raise RequestsJSONDecodeError(e.msg, e.doc, e.pos)
requests.exceptions.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
"""


@as_task(name="shop.tasks.charge_card", queue_name="payments", max_attempts=4)
def charge_card(order_id: int, *, amount: Decimal) -> None: ...


@as_task(name="shop.tasks.monthly_report", queue_name="reports")
def monthly_report(month: str) -> None: ...


def _of_many_attempts() -> Job[Any]:
    job = make_job(
        charge_card, [4711], {"amount": Decimal("19.90")}, state="failed", attempt=4, failures=4,
        max_attempts=4, queue_name="payments", worker="web-2/1",
        enqueued_at=Now() - timedelta(minutes=22), run_at=Now() - timedelta(seconds=3),
        last_attempted_at=Now() - timedelta(seconds=3),
    )  # fmt: skip
    for number in (1, 2, 3):
        started = Now() - timedelta(minutes=22 - 5 * number)
        Attempt.objects.create(
            job=job, attempt=number, outcome="retried", worker=f"web-{1 + number % 2}/1",
            started_at=started, finished_at=started + timedelta(seconds=2),
            exception_class_path="requests.exceptions.ConnectTimeout",
            message="bank.example: no answer within 2 s", traceback="Traceback …",
        )  # fmt: skip
    path, told = "requests.exceptions.JSONDecodeError", _TRACEBACK.format(here=Path.cwd())
    Attempt.objects.filter(job=job, attempt=4).update(
        worker="web-2/1", started_at=Now() - timedelta(seconds=3), exception_class_path=path,
        message="Expecting value: line 1 column 1 (char 0)", traceback=told,
        fingerprint=frames.fingerprint(path, told),
    )  # fmt: skip
    _log(
        job, 4,
        ("INFO", "shop.tasks", "charging 19.90 for order 4711"),
        ("WARNING", "shop.bank", "bank.example has answered 200, as text/html"),
        ("ERROR", "shop.bank", "no JSON: <!doctype html><title>We will be back soon</title>"),
    )  # fmt: skip
    return job


def _its_like(of: Job[Any]) -> None:
    """Others that failed in the same way, more or less."""
    last = Attempt.objects.get(job=of, attempt=4)
    other = last.traceback.replace(
        '/requests/models.py", line 980, in json', '/requests/compat.py", line 31, in loads'
    )
    for i in range(11):
        began = ids.first_of(timedelta(hours=1, seconds=i))
        job = make_job(
            charge_card, [5000 + i], {"amount": Decimal("5")}, queue_name="payments",
            state="failed" if i % 3 else "queued", error=ValueError(),
            id=UUID(int=began.int + 0x4F3A91C2D8E7B605 * (i + 1)),
        )  # fmt: skip
        said = "Extra data: line 2 column 1 (char 92)" if i % 4 == 0 else last.message
        Attempt.objects.filter(job=job).update(
            exception_class_path=last.exception_class_path, message=said,
            traceback=other if i % 4 == 0 else last.traceback, fingerprint=last.fingerprint,
            finished_at=Now() - timedelta(hours=(10 - i) ** 2 // 6, minutes=5),
        )  # fmt: skip


def _log(job: Job[Any], attempt: int, *records: tuple[str, str, str]) -> None:
    at = datetime.now(UTC) - timedelta(seconds=len(records))
    lines = [
        f"{at + timedelta(seconds=i):%Y-%m-%dT%H:%M:%S}.123Z {level} {name}: {message}"
        for i, (level, name, message) in enumerate(records)
    ]
    AttemptLog.objects.create(job=job, attempt=attempt, lines=len(lines), text="\n".join(lines))


def pages(jobs: dict[str, Job[Any]]) -> dict[str, str]:
    """Addresses below /admin/jobs/."""
    return {
        "overview": "",
        "jobs": "job/",
        "failed": "job/?state=failed",
        "kinds": "job/kinds/",
        "kind": f"job/kinds/{_kind_of(jobs['failed'])}/?task={jobs['failed'].task}",
        "job": f"job/{jobs['failed'].pk}/change/",
        "running": f"job/{jobs['running'].pk}/change/",
        "again": f"job/{jobs['failed'].pk}/again/",
        "queues": "queue/",
        "workers": "worker/",
        "pause": "pausedtask/add/",
        "schedules": "schedule/",
        "schedule": "schedule/add/",
        "silence": f"job/kinds/{_kind_of(jobs['failed'])}/silence/?task={jobs['failed'].task}",
        "history": f"job/{jobs['failed'].pk}/history/",
    }


def _kind_of(job: Job[Any]) -> str:
    return Attempt.objects.filter(job=job).latest("attempt").fingerprint


def pictures(folder: Path) -> Path:
    """Where screenshots go: there, or where PICTURES says."""
    kept = Path(os.environ.get("PICTURES") or folder)
    kept.mkdir(parents=True, exist_ok=True)
    return kept
