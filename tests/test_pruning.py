"""Pruning: what has ended long ago goes, by its task's definition; nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from unittest import mock
from uuid import UUID

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection as django_connection
from django.test import override_settings

from jobs import Job, ids, lifecycle, task
from jobs.models import Attempt, Refusal
from jobs.tasks import retention_of, shortest_retention
from jobs.testing import make_job
from jobs.worker import pruner
from tests import tasks
from tests.eventually import eventually
from tests.refusing import refusing
from tests.workers import WorkerProcess

DAY = timedelta(days=1)


@task(retention=timedelta(hours=1))
def soon_forgotten() -> None: ...


@task(retention=timedelta.max)
def never_forgotten() -> None: ...


def ended(ago: timedelta, *, of: Any = tasks.noop, state: str = "succeeded", **more: Any) -> Any:
    """The id of a job that was enqueued, and has ended, so long ago."""
    job = make_job(of, state=state, id=aged(ago), **more)
    with django_connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_job SET finished_at = finished_at - %s, failed_at = failed_at - %s,"
            " cancelled_at = cancelled_at - %s WHERE id = %s",
            [ago, ago, ago, job.pk],
        )
    return job.pk


def aged(ago: timedelta) -> Any:
    """An id that was made so long ago."""
    low = ids.uuid7().int & ((1 << 80) - 1)
    return UUID(int=ids.first_of(ago).int | low)


def pruned(connection: psycopg.Connection[Any]) -> int:
    shortest = shortest_retention()
    assert shortest is not None
    walk = pruner.Walk(shortest)
    while not walk.is_over:
        walk.step(connection)
    return walk.pruned


def test_what_has_ended_long_ago_goes_with_its_attempts_and_nothing_else(
    connection: psycopg.Connection[Any],
) -> None:
    for state in ("succeeded", "failed", "cancelled"):
        ended(31 * DAY, state=state)
    kept = {ended(29 * DAY, state="failed")}
    kept |= {
        make_job(state=state, id=aged(99 * DAY)).pk for state in ("queued", "waiting", "running")
    }

    assert pruned(connection) == 3
    assert set(Job.objects.values_list("pk", flat=True)) == kept
    assert Attempt.objects.count() == 1
    assert pruned(connection) == 0


def test_a_task_may_keep_its_jobs_for_longer_and_for_less(
    connection: psycopg.Connection[Any],
) -> None:
    ended(2 * timedelta(hours=1), of=soon_forgotten)
    ended(timedelta(minutes=59), of=soon_forgotten)
    ended(9999 * DAY, of=never_forgotten)
    ended(31 * DAY, of="vanished.tasks.gone")

    assert pruned(connection) == 2
    left = Job.objects.values_list("task", flat=True)
    assert sorted(left) == sorted([never_forgotten.name, soon_forgotten.name])


def test_settings_say_it_of_all_tasks_and_of_some() -> None:
    assert (retention_of("tests.tasks.noop"), shortest_retention()) == (
        30 * DAY,
        timedelta(hours=1),
    )
    with override_settings(
        JOBS={"RETENTION": None, "TASKS": {"tests.tasks.*": {"retention": timedelta(minutes=5)}}},
        TASKS={
            "default": {
                "BACKEND": "jobs.backend.JobsBackend",
                "OPTIONS": {"RETENTION": timedelta(minutes=3)},
            }
        },
    ):
        assert retention_of("tests.tasks.noop") == timedelta(minutes=5)
        assert retention_of("elsewhere.gone") is None
        assert shortest_retention() == timedelta(minutes=3)
        assert retention_of("tests.django_tasks.add") == timedelta(minutes=3)


def test_a_walk_goes_in_parts_and_past_what_stays(
    connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruner, "_PART", 3)
    for days in range(31, 38):
        ended(days * DAY)
        ended(days * DAY, of=never_forgotten)

    assert pruned(connection) == 7
    assert set(Job.objects.values_list("task", flat=True)) == {never_forgotten.name}


def test_a_job_that_was_retried_meanwhile_or_is_locked_stays(
    connect: Callable[[], psycopg.Connection[Any]],
) -> None:
    connection, other = connect(), connect()
    retried, locked = ended(31 * DAY, state="failed"), ended(31 * DAY)
    Job.objects.get(pk=retried).retry()
    with other.transaction():
        other.execute("SELECT 1 FROM jobs_job WHERE id = %s FOR UPDATE", [locked])
        assert lifecycle.prune(connection, [str(retried), str(locked)]) == 0

    assert Job.objects.count() == 2


@pytest.fixture
def holds_a_job(transactional_db: None) -> Iterator[Callable[[Any], None]]:
    """A table of a site's, with a foreign key to jobs that it should not have."""
    with django_connection.cursor() as cursor:
        cursor.execute("CREATE TABLE holder (job uuid REFERENCES jobs_job (id))")

        def hold(id_: Any) -> None:
            cursor.execute("INSERT INTO holder VALUES (%s)", [id_])

        yield hold
        cursor.execute("DROP TABLE holder")


def test_what_a_table_of_the_sites_holds_keeps_nothing_else(
    holds_a_job: Callable[[Any], None],
    connection: psycopg.Connection[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = [ended(31 * DAY) for _ in range(9)]
    holds_a_job(old[4])

    assert pruned(connection) == 8
    assert [job.pk for job in Job.objects.all()] == [old[4]]
    [told] = [record.getMessage() for record in caplog.records]
    assert f"job {old[4]} is old and cannot be deleted" in told
    assert "db_constraint=False" in told


@pytest.mark.slow
def test_a_real_worker_prunes(start_worker: Callable[..., WorkerProcess]) -> None:
    ended(31 * DAY)
    young = ended(1 * DAY)
    worker = start_worker("--processes", "1", JOBS_TEST_PRUNE_INTERVAL="0.2")

    eventually(lambda: Job.objects.count() == 1)
    assert Job.objects.get().pk == young
    assert worker.stop() == 0
    assert "1 jobs that had ended long ago are deleted" in worker.output


@pytest.mark.django_db(transaction=True)
def test_the_command_tells_how_many_and_may_delete_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended(31 * DAY)
    call_command("jobs", "prune", "--dry-run")
    assert Job.objects.count() == 1
    call_command("jobs", "prune")
    assert not Job.objects.exists()
    with override_settings(JOBS={"RETENTION": None}):
        call_command("jobs", "prune")

    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ["1 jobs to be deleted", "1 jobs deleted"]


# What the site's own code may do meanwhile.


def test_a_module_that_cannot_be_imported_keeps_its_jobs_and_kills_nobody(
    connection: psycopg.Connection[Any],
) -> None:
    ended(31 * DAY, of="tests.broken_module.anything")
    ended(31 * DAY)

    assert pruned(connection) == 1
    assert Job.objects.get().task == "tests.broken_module.anything"


def test_what_is_kept_for_ever_walks_over_nothing(connection: psycopg.Connection[Any]) -> None:
    ended(31 * DAY)
    for long in (timedelta(days=36_500), timedelta.max):
        walk = pruner.Walk(long)
        # Once before the oldest job that may be deleted, once for jobs with random ids.
        walk.step(connection)
        walk.step(connection)
        assert (walk.pruned, walk.is_over) == (0, True)


def test_a_job_with_a_random_id_is_pruned_too(connection: psycopg.Connection[Any]) -> None:
    job = make_job(tasks.noop, state="succeeded", id=UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479"))
    young = make_job(tasks.noop, state="succeeded", id=UUID("f57ac10b-58cc-4372-a567-0e02b2c3d479"))
    with django_connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_job SET finished_at = finished_at - interval '31 days' WHERE id = %s",
            [job.pk],
        )

    assert pruned(connection) == 1
    assert [one.pk for one in Job.objects.all()] == [young.pk]


def test_a_trigger_that_refuses_one_deletion_keeps_no_other(
    connection: psycopg.Connection[Any],
) -> None:
    old = [ended(31 * DAY) for _ in range(9)]
    with refusing("jobs_job", "DELETE", f"OLD.id = '{old[4]}'"):
        assert pruned(connection) == 8
        [refusal] = Refusal.objects.all()
        assert (refusal.subject, refusal.key) == ("pruning", str(old[4]))
    assert pruned(connection) == 1


def test_many_rows_that_are_held_hide_nothing_behind_them(
    holds_a_job: Callable[[Any], None],
    connection: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pruner, "_PART", 25)
    for _ in range(25):
        holds_a_job(ended(90 * DAY))
    free = ended(80 * DAY)

    assert pruned(connection) == 1
    assert not Job.objects.filter(pk=free).exists()
    assert Job.objects.count() == 25


def test_whatever_is_raised_while_pruning_the_pruner_goes_on(
    connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(31 * DAY)
    one = pruner.Pruner()
    for error in (RuntimeError("odd"), None):
        one._next_at = 0.0
        if error is not None:
            monkeypatch.setattr(pruner, "retention_of", mock.Mock(side_effect=error))
        else:
            monkeypatch.undo()
        one.step(connection)

    assert not Job.objects.exists()
