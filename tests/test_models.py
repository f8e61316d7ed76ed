"""What the database itself refuses, and the querysets in words."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from jobs import enqueue, ids
from jobs.models import FINAL, Job, State, Statistic, Unique
from tests import tasks

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "done"},
        {"priority": 101},
        {"state": "running", "claimable": False},
        {"state": "failed", "claimable": False, "finished_at": Now()},
        {"state": "succeeded", "claimable": False},
        {"finished_at": Now()},
        {"claimable": False},
        {"failures": 2, "max_attempts": 1},
        {"losses": 5, "max_losses": 3},
        {"failures": -1},
    ],
)
def test_the_database_refuses_a_job_that_contradicts_itself(columns: dict[str, Any]) -> None:
    job = enqueue(tasks.noop)

    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(**columns)


def test_a_unique_key_is_held_once() -> None:
    Unique.objects.create(key="import 7", job_id=ids.uuid7())

    with pytest.raises(IntegrityError), transaction.atomic():
        Unique.objects.create(key="import 7", job_id=ids.uuid7())


@pytest.mark.parametrize("runner", [None, ids.uuid7()])
def test_a_minute_has_one_row_of_a_runner_and_one_of_all(runner: UUID | None) -> None:
    minute = datetime(2026, 1, 1, tzinfo=UTC)
    row = {"starts_at": minute, "queue_name": "default", "task": "t", "runner": runner}
    kept = Statistic.objects.create(**row)
    kept.refresh_from_db()

    assert (kept.succeeded, kept.runs, kept.seconds) == (0, [], 60)
    with pytest.raises(IntegrityError), transaction.atomic():
        Statistic.objects.create(**row)
    with pytest.raises(IntegrityError), transaction.atomic():
        Statistic.objects.update(failed=-1)


def test_an_insert_from_plain_sql_needs_the_task_only() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO jobs_job (task) VALUES ('tests.tasks.noop') RETURNING id")
        job = Job.objects.get(pk=cursor.fetchone()[0])

    assert job.pk.version == 7
    assert job.state == State.QUEUED
    assert job.arguments == {"args": [], "kwargs": {}}
    assert job in Job.objects.ready()


def test_ids_from_plain_sql_and_from_python_sort_together() -> None:
    first = ids.uuid7()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.002)")
        cursor.execute("INSERT INTO jobs_job (task) VALUES ('t') RETURNING id")
        second = cursor.fetchone()[0]
        cursor.execute("SELECT pg_sleep(0.002)")

    assert first < second < ids.uuid7()


def test_querysets_in_words() -> None:
    ready = enqueue(tasks.noop)
    later = tasks.noop.using(run_after=timedelta(hours=1)).enqueue()
    gone = enqueue(tasks.noop)
    gone.cancel()
    Job.objects.filter(pk=ready.pk).update(run_at=Now() - timedelta(minutes=5))

    assert set(Job.objects.queued()) == {ready, later}
    assert list(Job.objects.ready()) == [ready]
    assert list(Job.objects.scheduled()) == [later]
    assert list(Job.objects.overdue(by=timedelta(minutes=4))) == [ready]
    assert list(Job.objects.overdue(by=timedelta(minutes=6))) == []
    assert list(Job.objects.cancelled()) == [gone]
    assert not Job.objects.retrying().exists()
    assert not Job.objects.failed().exists()


def test_a_job_is_never_saved() -> None:
    job = enqueue(tasks.noop)

    with pytest.raises(TypeError, match="Use its verbs"):
        job.save()


def test_every_state_has_a_word_of_djangos() -> None:
    words = {state: Job(state=state).status for state in State}

    assert set(words.values()) == {"READY", "RUNNING", "SUCCESSFUL", "FAILED"}
    assert {state for state in State if Job(state=state).is_finished} == set(FINAL)


def test_a_job_class_can_stand_in_evaluated_annotations() -> None:
    assert Job[int] is Job
