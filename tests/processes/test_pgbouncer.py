"""Workers behind a real PgBouncer in transaction mode, where sessions are shared."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

import psycopg
import pytest
from django.db import connection as django
from django.test import override_settings

from jobs import Job, enqueue, enqueue_many, lifecycle
from jobs.lifecycle.pooled import Pooled
from jobs.models import Claim, Worker
from tests import pgbouncer, tasks
from tests.eventually import eventually
from tests.workers import WorkerProcess

pytestmark = pytest.mark.skipif(
    pgbouncer.program() is None, reason="pgbouncer is not installed (a Debian package)"
)
Start = Callable[..., WorkerProcess]


@pytest.fixture
def port(transactional_db: None) -> Iterator[int]:
    with pgbouncer.pgbouncer() as port:
        yield port


@pytest.fixture
def pooled(port: int) -> Iterator[Callable[[], Pooled]]:
    """Connections through it; Django's own goes there, too."""
    params = django.get_connection_params() | {
        "host": "127.0.0.1", "port": port, "user": "anybody",
    }  # fmt: skip
    made: list[Any] = []

    def connect() -> Pooled:
        with override_settings(JOBS={"TRANSACTION_POOLING": True}):
            made.append(lifecycle.connect("jobs test"))
        return made[-1]

    django.close()
    with mock.patch.object(django, "get_connection_params", side_effect=params.copy):
        yield connect
        django.close()
    for one in made:
        one.close()


def shown(connection: psycopg.Connection[Any], name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return row[0]


def test_options_hold_in_each_transaction_and_stay_in_none(pooled: Callable[[], Pooled]) -> None:
    connection = pooled()
    raw = psycopg.connect(**django.get_connection_params(), autocommit=True)

    assert shown(connection, "enable_seqscan") == "off"
    with connection.pipeline():
        cursor = connection.execute("SELECT current_setting('plan_cache_mode')")
    assert cursor.fetchone() == ("force_generic_plan",)
    with connection.transaction():
        assert shown(connection, "lock_timeout") == "2s"
        assert shown(connection, "transaction_isolation") == "read committed"
    assert {shown(raw, "enable_seqscan") for _ in range(4)} == {"on"}
    raw.close()


def test_an_error_ends_its_transaction_and_the_connection_goes_on(
    pooled: Callable[[], Pooled],
) -> None:
    connection = pooled()

    def fails() -> None:
        connection.execute("INSERT INTO jobs_queue (name) VALUES ('lost')")
        connection.execute("SELECT 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("SELECT 1 / 0")
    for together in (connection.pipeline, connection.transaction):
        with pytest.raises(psycopg.errors.DivisionByZero), together():
            fails()

    assert connection.execute("SELECT count(*) FROM jobs_queue").fetchone() == (0,)
    assert shown(connection, "enable_seqscan") == "off"


@pytest.mark.parametrize("processes", ["1", "2"])
def test_workers_do_all_they_do_elsewhere(start_worker: Start, port: int, processes: str) -> None:
    environment = {"JOBS_TEST_PGBOUNCER": str(port), "JOBS_TEST_POLL_INTERVAL": "0.1"}
    many = enqueue_many(tasks.add, [(i,) for i in range(2000)])
    retried = enqueue(tasks.flaky, 3)
    failed = enqueue(tasks.boom, "told")
    atomic = enqueue(tasks.atomic_nap, 0.01, "ada")
    asynchronous = enqueue_many(tasks.async_nap, [(0.01,)] * 20)

    worker = start_worker("--processes", processes, **environment).until_ready()
    eventually(lambda: not Job.objects.filter(state__in=["queued", "running"]).exists())
    late = enqueue(tasks.add, 1, b=1)
    assert late.wait(timeout=10) == 2
    long = enqueue(tasks.nap, 30)
    eventually(lambda: Job.objects.get(pk=long.pk).state == "running")
    long.cancel()
    eventually(lambda: Job.objects.get(pk=long.pk).state == "cancelled")

    jobs = {job.pk: job for job in Job.objects.all()}
    assert [jobs[pk].return_value for pk in many] == [i + 1 for i in range(2000)]
    assert {jobs[pk].attempt for pk in [*many, *asynchronous]} == {1}
    assert (jobs[retried.pk].state, jobs[retried.pk].attempt) == ("succeeded", 3)
    assert (jobs[failed.pk].state, jobs[atomic.pk].state) == ("failed", "succeeded")
    assert not Worker.objects.exclude(idle=[]).exists()
    eventually(lambda: not Claim.objects.exists())
    assert worker.stop() == 0
    assert not Worker.objects.exists()


def test_a_producer_behind_it_enqueues_within_its_transaction(
    pooled: Callable[[], Pooled], port: int
) -> None:
    from django.db import transaction

    with transaction.atomic():
        job = enqueue(tasks.add, 1)
        tasks.noop.using(run_after=timedelta(hours=1)).enqueue()

    assert Job.objects.count() == 2
    job.refresh()
    assert job.state == "queued"
    assert django.connection.info.port == port
