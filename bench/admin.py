"""The admin's pages with a million jobs: how many queries each asks, and how long they take.

    python -m bench.admin

A PostgreSQL of its own; fifty queues, twenty workers, three tasks in each queue, statistics of a
week. Medians of some rounds, behind the first.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import servers

_JOBS, _QUEUES, _WORKERS, _ROUNDS = 1_000_000, 50, 20, 7

_FILL = """
INSERT INTO jobs_job (
    id, task, queue_name, priority, state, claimable, arguments, enqueued_at, run_at, attempt,
    failures, claim, worker, last_attempted_at, finished_at, failed_at, cancelled_at, result
)
SELECT
    -- As if they had come over a week.
    (
        lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
        || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15)
    )::uuid,
    'shop.tasks.task_' || i %% 150, 'queue_' || i %% %(queues)s, (i %% 3) * 5, state,
    state = 'queued', '{"args": [1], "kwargs": {"order": "a-123456"}}', at,
    CASE WHEN i %% 7 = 0 AND state = 'queued' THEN now() + interval '1 hour' ELSE at END,
    (state <> 'queued')::int, (state = 'failed')::int,
    CASE WHEN state <> 'queued' THEN gen_random_uuid() END,
    CASE WHEN state <> 'queued' THEN 'web-' || i %% %(workers)s || '/1' END,
    CASE WHEN state <> 'queued' THEN at + interval '1 second' END,
    CASE WHEN state <> 'queued' THEN at + interval '2 seconds' END,
    CASE WHEN state = 'failed' THEN at + interval '2 seconds' END,
    CASE WHEN state = 'cancelled' THEN at + interval '2 seconds' END,
    CASE WHEN state = 'succeeded' THEN '"done"'::jsonb END
FROM generate_series(1, %(jobs)s) AS i
CROSS JOIN LATERAL (
    SELECT
        now() - interval '7 days' * (1 - i::float8 / %(jobs)s) AS at,
        CASE
            WHEN i > %(jobs)s - 40000 THEN 'queued'
            WHEN i %% 25 = 0 THEN 'failed'
            WHEN i %% 50 = 1 THEN 'cancelled'
            ELSE 'succeeded'
        END AS state
) AS life
"""
_ATTEMPTS = """
INSERT INTO jobs_attempt (
    job_id, attempt, outcome, finished_at, exception_class_path, fingerprint, message, traceback
)
SELECT
    id, 1, 'failed', finished_at, 'shop.errors.Error' || abs(hashtext(id::text)) %% 20,
    lpad((abs(hashtext(id::text)) %% 20)::text, 16, '0'),
    'order ' || abs(hashtext(id::text)) || ' was refused', repeat('a line of a traceback\n', 40)
FROM jobs_job
WHERE failed_at IS NOT NULL
ORDER BY id
"""
_STATISTICS = """
INSERT INTO jobs_statistic (
    starts_at, seconds, queue_name, task, succeeded, failed, waits, runs, ready
)
SELECT
    starts_at, seconds, 'queue_' || queue,
    CASE task WHEN 0 THEN '' ELSE 'shop.tasks.task_' || queue + 50 * (task - 1) END,
    CASE task WHEN 0 THEN 0 ELSE 90 END, CASE task WHEN 0 THEN 0 ELSE 2 END,
    CASE task WHEN 0 THEN '{}'::int[] ELSE array_fill(1, ARRAY[40]) END,
    CASE task WHEN 0 THEN '{}'::int[] ELSE array_fill(1, ARRAY[44]) END,
    CASE task WHEN 0 THEN 12 END
FROM (
    SELECT date_trunc('minute', now()) - interval '1 minute' * i AS starts_at, 60 AS seconds
    FROM generate_series(0, 65) AS i
    UNION ALL
    SELECT to_timestamp(floor(extract(epoch FROM now()) / 600) * 600)
        - interval '10 minutes' * i, 600
    FROM generate_series(7, 155) AS i
    UNION ALL
    SELECT date_trunc('hour', now()) - interval '1 hour' * i, 3600
    FROM generate_series(27, 168) AS i
) AS moment
CROSS JOIN generate_series(0, %(queues)s - 1) AS queue
CROSS JOIN generate_series(0, 3) AS task
"""
# As folding would have made them.
_TOTALS = """
INSERT INTO jobs_statistic (starts_at, seconds, queue_name, task, succeeded, failed, waits, runs)
SELECT
    starts_at, seconds, '', '', sum(succeeded), sum(failed), array_fill(100, ARRAY[40]),
    array_fill(100, ARRAY[44])
FROM jobs_statistic
WHERE seconds > 60 AND task <> ''
GROUP BY starts_at, seconds
"""
_RUNNING = """
WITH taken AS (
    UPDATE jobs_job
    SET state = 'running', claimable = false, claim = gen_random_uuid(), attempt = 1,
        worker = 'web-1/1', last_attempted_at = now()
    WHERE id IN (SELECT id FROM jobs_job WHERE claimable AND run_at <= now() LIMIT 400)
    RETURNING id, claim
)
INSERT INTO jobs_claim (id, worker_id, runner, ids)
SELECT claim, (SELECT id FROM jobs_worker ORDER BY random() LIMIT 1), gen_random_uuid(), ARRAY[id]
FROM taken
"""


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with servers.postgres("admin") as database:
        os.environ |= {"DATABASE_URL": database.url, "DJANGO_SETTINGS_MODULE": "project.settings"}
        measure()


def measure() -> None:
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    settings.DEBUG = False
    settings.ALLOWED_HOSTS = ["testserver"]
    call_command("migrate", verbosity=0)
    began = time.monotonic()
    fill()
    print(f"{_JOBS:,} jobs after {time.monotonic() - began:.0f} s", flush=True)
    print(f"{'page':<44} {'queries':>7} {'SQL ms':>7} {'in all ms':>9}")
    for name, address in pages().items():
        queries, seconds, whole = look_at(address)
        print(f"{name:<44} {queries:>7} {seconds * 1000:>7.1f} {whole * 1000:>9.0f}", flush=True)


def fill() -> None:
    from django.db import connection

    from jobs import ids
    from jobs.models import Queue, Worker

    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE jobs_job, jobs_log, jobs_attempt, jobs_claim, jobs_queue, jobs_worker, "
            "jobs_statistic"
        )
        Queue.objects.bulk_create(Queue(name=f"queue_{i}") for i in range(_QUEUES))
        Worker.objects.bulk_create(
            Worker(
                id=ids.uuid7(), name=f"web-{i}", host="web", pid=i, protocol=1, version="1",
                excluded_queues=[], processes=4, threads=1, coroutines=100, runners=[], idle=[],
            )
            for i in range(_WORKERS)
        )  # fmt: skip
        cursor.execute(_FILL, {"jobs": _JOBS, "queues": _QUEUES, "workers": _WORKERS})
        cursor.execute(_ATTEMPTS, {})
        cursor.execute(_STATISTICS, {"queues": _QUEUES})
        cursor.execute(_TOTALS)
        cursor.execute(_RUNNING)
        cursor.execute("VACUUM ANALYZE")


def pages() -> dict[str, str]:
    from jobs.models import Attempt, Job

    failed = Job.objects.failed().order_by("-id")[100]
    kind = Attempt.objects.filter(job=failed).latest("attempt")
    jobs = "/admin/jobs/job/"
    return {
        "overview": "/admin/jobs/",
        "overview, a refresh": f"{jobs}overview/",
        "overview, a refresh of a week": f"{jobs}overview/?span=week",
        "list": jobs,
        "list: queued": f"{jobs}?state=queued",
        "list: running": f"{jobs}?state=running",
        "list: failed": f"{jobs}?state=failed",
        "list: cancelled": f"{jobs}?state=cancelled",
        "list: succeeded": f"{jobs}?state=succeeded",
        "list: of a queue": f"{jobs}?queue=queue_7",
        "list: of a task": f"{jobs}?task=shop.tasks.task_7",
        "list: succeeded, of a task": f"{jobs}?task=shop.tasks.task_8&state=succeeded",
        "list: failed, of a task": f"{jobs}?task=shop.tasks.task_50&state=failed",
        "list: of a task that there is not": f"{jobs}?task=shop.tasks.none",
        "list: of a worker": f"{jobs}?worker=web-3",
        "list: of the last day": f"{jobs}?within=day",
        "list: of an error": f"{jobs}?error=shop.errors.Error7",
        "list: of an error, in a queue": f"{jobs}?error=shop.errors.Error7&queue=queue_25",
        "failures by kind": f"{jobs}kinds/",
        "failures by kind, of a task": f"{jobs}kinds/?task=shop.tasks.task_50",
        "failures of one kind": f"{jobs}kinds/{kind.fingerprint}/?task={failed.task}",
        "search: an id": f"{jobs}?q={failed.pk}",
        "search: words of an error": f"{jobs}?q=error:refused",
        "search: words that no error has": f"{jobs}?q=error:nowhere",
        "a job that has failed": f"{jobs}{failed.pk}/change/",
        "a refresh of it": f"{jobs}{failed.pk}/life/",
        "queues": "/admin/jobs/queue/",
        "workers": "/admin/jobs/worker/",
    }


def look_at(address: str) -> tuple[int, float, float]:
    """(queries, seconds of them, seconds in all), medians; those of the session too."""
    client, rounds = _client(), []
    for _ in range(_ROUNDS + 1):
        with _counted() as told:
            began = time.perf_counter()
            answer = client.get(address)
            whole = time.perf_counter() - began
        assert answer.status_code == 200, (address, answer.status_code)
        rounds.append((len(told), sum(told), whole))
    queries, seconds, whole_s = zip(*rounds[1:], strict=True)
    return max(queries), statistics.median(seconds), statistics.median(whole_s)


def _client() -> Any:
    from django.contrib.auth.models import User
    from django.test import Client

    ada, _ = User.objects.get_or_create(username="ada", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(ada)
    return client


@contextmanager
def _counted() -> Iterator[list[float]]:
    from django.db import connection

    told: list[float] = []

    def count(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, *rest)
        finally:
            told.append(time.perf_counter() - began)

    with connection.execute_wrapper(count):
        yield told


if __name__ == "__main__":
    main()
