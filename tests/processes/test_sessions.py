"""No job fails because of a session that died while it was idle."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from jobs import Job, enqueue, enqueue_many
from tests import tasks
from tests.eventually import eventually
from tests.workers import WorkerProcess

pytestmark = pytest.mark.slow
Start = Callable[..., WorkerProcess]


def end_sessions_of_tasks() -> int:
    """As a restart of PostgreSQL, or idle_session_timeout, does; not the workers' own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND application_name NOT LIKE 'jobs %'"
        )
        [count] = cursor.fetchone()
    return int(count)


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("--processes", "2"), {"JOBS_TEST_AGE": "600"}),
        (("--processes", "1", "--threads", "4"), {"JOBS_TEST_AGE": "600"}),
        (("--processes", "1", "--threads", "4"), {"JOBS_TEST_POOL": "1"}),
        (("--processes", "1"), {"JOBS_TEST_AGE": "600", "JOBS_TEST_HEALTH_CHECKS": "1"}),
    ],
    ids=["processes", "threads", "pool", "health checks"],
)
@pytest.mark.parametrize("of", [tasks.asks_the_database, tasks.enqueues_one, tasks.asks_atomically])
def test_sessions_that_died_while_idle_fail_no_job(
    start_worker: Start, arguments: Any, environment: Any, of: Any
) -> None:
    worker = start_worker(*arguments, **environment).until_ready()
    for _ in range(3):
        made = enqueue_many(of, [()] * 12)
        eventually(lambda made=made: not unfinished(made))
        # No job uses them meanwhile.
        time.sleep(0.2)
        assert end_sessions_of_tasks() > 0

    states = set(Job.objects.filter(task=of.name).values_list("state", "failures"))
    assert states == {("succeeded", 0)}, worker.output
    assert worker.stop() == 0


def unfinished(made: list[Any]) -> bool:
    return Job.objects.filter(pk__in=made, finished_at=None).exists()


def test_async_tasks_lose_no_job_to_a_dead_session_either(start_worker: Start) -> None:
    worker = start_worker("--processes", "1", JOBS_TEST_AGE="600").until_ready()
    for _ in range(3):
        made = enqueue_many(tasks.asks_the_database_async, [()] * 12)
        eventually(lambda made=made: not unfinished(made))
        time.sleep(0.2)
        assert end_sessions_of_tasks() > 0

    states = set(Job.objects.values_list("state", "failures"))
    assert states == {("succeeded", 0)}, worker.output


def test_a_limit_for_idle_sessions_cuts_neither_listeners_nor_jobs(start_worker: Start) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_database()")
        [role, database] = cursor.fetchone()
        cursor.execute(
            f"ALTER ROLE {role} IN DATABASE {database} SET idle_session_timeout = '300ms'"
        )
    try:
        worker = start_worker("--processes", "2", "--beat", JOBS_TEST_AGE="600").until_ready()
        for _ in range(3):
            enqueue(tasks.asks_the_database).wait(timeout=20)
            time.sleep(0.7)
        assert worker.stop() == 0
        assert "idle-session timeout" not in worker.output
        assert "connected again" not in worker.output
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER ROLE {role} IN DATABASE {database} RESET idle_session_timeout")
