"""Tools for a site's tests: jobs that run here and now, inside of a test's transaction, too."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from jobs import Job, enqueue, task
from jobs.models import Claim, Worker
from jobs.testing import run_jobs
from tests import tasks


@task
def enqueues_another(depth: int) -> int:
    if depth:
        enqueue(enqueues_another, depth - 1)
    return depth


@task
def is_interrupted() -> None:
    raise KeyboardInterrupt


@task(atomic=True)
def is_interrupted_in_a_transaction() -> None:
    raise KeyboardInterrupt


@task
async def is_interrupted_in_a_coroutine() -> None:
    raise KeyboardInterrupt


@task
def breaks_its_transaction() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


@task
def closes_its_connection() -> int:
    connection.close()
    return 1


@pytest.mark.django_db
def test_jobs_run_inside_of_a_tests_transaction() -> None:
    assert connection.in_atomic_block
    added, bad = enqueue(tasks.add, 1), enqueue(tasks.boom, "told")

    ran = run_jobs()

    assert [job.pk for job in ran] == [added.pk, bad.pk]
    assert ran[0].return_value == 2
    assert (ran[1].state, ran[1].errors[0].message) == ("failed", "told")
    assert not Claim.objects.exists()
    assert not Worker.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_jobs_run_where_there_is_no_transaction() -> None:
    job = enqueue(tasks.add, 1)
    run_jobs()
    job.refresh()

    assert job.return_value == 2
    assert not Worker.objects.exists()


@pytest.mark.django_db
def test_what_jobs_enqueue_runs_too_and_what_is_retried_runs_again() -> None:
    enqueue(enqueues_another, 2)
    flaky = enqueue(tasks.flaky, 3)

    ran = run_jobs()

    assert [job.return_value for job in ran if job.task.endswith("another")] == [2, 1, 0]
    flaky.refresh()
    assert (flaky.state, flaky.attempt, len(flaky.errors)) == ("succeeded", 3, 2)


@pytest.mark.django_db
def test_they_run_in_the_order_of_their_lanes_and_not_before_they_are_due() -> None:
    for priority in (0, 5, -5):
        task(tasks.plain).using(priority=priority).enqueue(str(priority))
    later = task(tasks.plain).using(run_after=timedelta(hours=1)).enqueue("later")

    assert [job.args for job in run_jobs()] == [["5"], ["0"], ["-5"]]
    later.refresh()
    assert later.state == "queued"


@pytest.mark.django_db
def test_atomic_async_expired_and_unknown_ones_end_as_with_a_worker() -> None:
    slow = enqueue(tasks.async_nap, 0.01)
    late, unknown = enqueue(tasks.noop), enqueue(tasks.noop)
    Job.objects.filter(pk=late.pk).update(expires_at=Now() - timedelta(seconds=1))
    Job.objects.filter(pk=unknown.pk).update(task="tests.tasks.vanished")

    run_jobs()

    ends: dict[Any, Any] = {job.pk: (job.state, job.reason) for job in Job.objects.all()}
    assert ends[slow.pk] == ("succeeded", None)
    assert ends[late.pk] == ("cancelled", "expired")
    assert ends[unknown.pk][0] == "failed"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "interrupted",
    [is_interrupted, is_interrupted_in_a_transaction, is_interrupted_in_a_coroutine],
)
def test_ctrl_c_is_the_testers_own(interrupted: Any) -> None:
    enqueue(interrupted)

    with pytest.raises(KeyboardInterrupt), transaction.atomic():
        run_jobs()


@pytest.mark.django_db
def test_no_more_run_than_are_asked_for() -> None:
    enqueue(enqueues_another, 100)

    assert len(run_jobs(at_most=3)) == 3
    assert Job.objects.queued().count() == 1


@pytest.mark.django_db
def test_a_task_that_breaks_the_transaction_breaks_its_own_job_only() -> None:
    bad, good = enqueue(breaks_its_transaction), enqueue(tasks.add, 1)

    run_jobs()

    ends: dict[Any, str] = {job.pk: job.state for job in Job.objects.all()}
    assert ends == {bad.pk: "failed", good.pk: "succeeded"}


@pytest.mark.django_db(transaction=True)
def test_a_task_that_closes_its_connection_hurts_nobody() -> None:
    job = enqueue(closes_its_connection)
    run_jobs()
    job.refresh()

    assert job.return_value == 1


@pytest.mark.django_db
def test_what_may_be_no_job_fails_and_progress_is_kept() -> None:
    forbidden, told = enqueue(tasks.noop), enqueue(tasks.tells_progress, 3)
    Job.objects.filter(pk=forbidden.pk).update(task="os.system")

    run_jobs()

    ends: dict[Any, Any] = {job.pk: job for job in Job.objects.all()}
    assert ends[forbidden.pk].state == "failed"
    assert ends[told.pk].progress is not None
