"""Callbacks: queued in the transaction that ends a job, by whoever ends it, once."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest import mock
from uuid import UUID

import psycopg
import pytest
from django.db import connection as django_connection
from django.db import transaction
from django.db.models.functions import Now
from django.test import override_settings
from django.utils import timezone

from jobs import Job, enqueue, lifecycle, task
from jobs.checks import check_settings
from jobs.errors import InvalidTask
from jobs.lifecycle import Claimed, Ended
from jobs.outcomes import Failed, Problem, Succeeded
from jobs.tasks import registry
from jobs.tasks.following import callback
from jobs.testing import make_job, run_jobs
from tests import tasks
from tests.eventually import eventually
from tests.workers import WorkerProcess


@task
def note_success(job_id: UUID) -> str:
    return f"{job_id} succeeded"


@task(queue_name="alarms", priority=9, max_attempts=7)
def note_failure(job_id: UUID) -> str:
    return f"{job_id} failed"


@task
def note_end(job_id: UUID) -> str:
    job = Job.objects.get(pk=job_id)
    return f"{job.state} {job.is_finished}"


@task(on_success=note_success, on_failure=note_failure, on_finish=note_end)
def watched(how: str = "") -> str:
    if how == "boom":
        raise ValueError(how)
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGVTALRM})
        while True:
            signal.sigtimedwait([signal.SIGVTALRM], 1)
    return how


@task(max_attempts=2, backoff=timedelta(0), on_failure="tests.test_following.note_failure")
def fails_twice() -> None:
    raise ValueError


@task(atomic=True, on_finish=note_end)
def watched_and_atomic(fails: bool) -> None:
    enqueue(tasks.noop)
    if fails:
        raise ValueError


@task(on_finish=note_end)
async def watched_coroutine() -> None: ...


@task(
    on_finish=note_end.using(queue_name="slow", run_after=timedelta(hours=1), timeout=timedelta(5))
)
def watched_later() -> None: ...


def followers(of: Any) -> list[Any]:
    """The jobs that were queued because this one ended."""
    return [job for job in Job.objects.order_by("task") if job.args == [of.pk]]


def names(of: Any) -> list[str]:
    return [job.task.rpartition(".")[2] for job in followers(of)]


@pytest.mark.django_db
def test_a_success_is_followed_by_what_waits_for_it_with_its_id() -> None:
    job = enqueue(watched)
    ran = run_jobs()

    assert names(job) == ["note_end", "note_success"]
    assert [one.metadata for one in followers(job)] == [{"follows": str(job.pk)}] * 2
    assert [one.return_value for one in ran if one.task.endswith("note_success")] == [
        f"{job.pk} succeeded"
    ]
    assert [one.return_value for one in ran if one.task.endswith("note_end")] == ["succeeded True"]
    job.refresh()
    assert job.return_value == ""


@pytest.mark.django_db
def test_a_failure_is_followed_once_it_is_final_with_the_callbacks_own_options() -> None:
    job = enqueue(fails_twice)
    run_jobs(at_most=1)
    assert followers(job) == []

    run_jobs(at_most=1)
    [alarm] = followers(job)
    assert (alarm.queue_name, alarm.priority, alarm.max_attempts) == ("alarms", 9, 7)


@pytest.mark.django_db
def test_options_given_with_using_are_the_callbacks_jobs() -> None:
    job = enqueue(watched_later)
    run_jobs()
    [later] = followers(job)

    assert (later.queue_name, later.timeout) == ("slow", timedelta(5))
    assert abs(later.run_at - later.enqueued_at - timedelta(hours=1)) < timedelta(seconds=1)


@pytest.mark.django_db
def test_a_coroutine_and_an_atomic_task_are_followed_too() -> None:
    jobs = [enqueue(watched_coroutine), *(enqueue(watched_and_atomic, one) for one in (0, 1))]
    run_jobs()

    assert [names(job) for job in jobs] == [["note_end"]] * 3
    assert Job.objects.filter(task=tasks.noop.name).count() == 1


@pytest.mark.django_db(transaction=True)
def test_cancelling_a_queued_job_is_its_end_in_the_callers_transaction() -> None:
    job = enqueue(watched)
    with transaction.atomic():
        job.cancel()
        assert names(job) == ["note_end"]
        transaction.set_rollback(True)
    assert names(job) == []

    assert job.cancel()
    assert names(job) == ["note_end"]
    assert [one.metadata for one in followers(job)] == [{"follows": str(job.pk)}]
    assert not job.cancel()
    assert names(job) == ["note_end"]


@pytest.mark.django_db
def test_a_job_that_expires_is_followed_by_what_waits_for_any_end() -> None:
    job = enqueue(watched)
    Job.objects.filter(pk=job.pk).update(expires_at=Now() - timedelta(seconds=1))
    run_jobs()

    assert names(job) == ["note_end"]


def test_a_record_that_is_sent_twice_is_followed_once(
    connection: psycopg.Connection[Any], claim: Callable[..., list[Claimed]]
) -> None:
    job = enqueue(watched)
    [claimed] = claim()
    for _ in range(2):
        lifecycle.record(connection, [Ended(claimed, Succeeded('"x"'))])

    assert names(job) == ["note_end", "note_success"]


def test_an_attempt_whose_claim_is_anothers_is_followed_by_nothing(
    connection: psycopg.Connection[Any], claim: Callable[..., list[Claimed]]
) -> None:
    job = enqueue(watched)
    [stale] = claim()
    lifecycle.give_back(connection, stale.claim, note="", charged=False)
    [fresh] = claim()
    lifecycle.record(connection, [Ended(stale, Failed(Problem("x", "", "")))])
    assert names(job) == []

    lifecycle.record(connection, [Ended(fresh, Failed(Problem("x", "", "")))])
    assert names(job) == ["note_end", "note_failure"]


def test_a_poison_job_is_followed_by_what_waits_for_its_failure(
    connection: psycopg.Connection[Any], claim: Callable[..., list[Claimed]]
) -> None:
    job = watched.using(max_losses=0).enqueue()
    [claimed] = claim()
    lifecycle.give_back(connection, claimed.claim, note="", charged=True)

    assert names(job) == ["note_end", "note_failure"]


@pytest.mark.slow
def test_a_real_worker_queues_what_follows_kills_and_deaths(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    dies = watched.using(max_losses=0).enqueue("die")
    hangs = watched.using(timeout=timedelta(seconds=0.2)).enqueue("hang")
    worker = start_worker("--processes", "2", JOBS_TEST_INTERRUPT_GRACE="0.3")
    eventually(lambda: Job.objects.failed().count() == 2)
    eventually(lambda: not Job.objects.queued().exclude(queue_name="alarms").exists())

    for job in (dies, hangs):
        assert names(job) == ["note_end", "note_failure"]
    assert worker.stop() == 0
    # Each final failure is one line at ERROR, whoever has found it.
    told = [line for line in worker.output.splitlines() if "ERROR" in line]
    assert sorted(str(job.pk) in "".join(told) for job in (dies, hangs)) == [True, True]


@pytest.mark.django_db
def test_the_settings_may_say_what_follows_and_nothing_follows_itself() -> None:
    pattern = {"tests.*": {"on_failure": "tests.test_following.always_fails"}}
    with override_settings(JOBS={"TASKS": pattern}):
        job = enqueue(tasks.boom, "x")
        ran = run_jobs()

    assert [one.task.rpartition(".")[2] for one in ran] == ["boom", "always_fails"]
    assert names(job) == ["always_fails"]


@task
def always_fails(job_id: UUID) -> None:
    raise ValueError


@pytest.mark.django_db
def test_a_callback_that_is_none_is_logged_and_the_jobs_end_stands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with override_settings(JOBS={"TASKS": {"tests.*": {"on_failure": "tests.tasks.vanished"}}}):
        job = enqueue(tasks.boom, "x")
        with caplog.at_level(logging.ERROR, "jobs"):
            run_jobs()
    job.refresh()

    assert job.state == "failed"
    assert "nothing follows jobs of tests.tasks.boom" in caplog.text
    assert "tests.tasks.vanished" in caplog.text


def test_checks_name_callbacks_that_do_not_fit() -> None:
    def told(on: str) -> list[str]:
        with override_settings(JOBS={"TASKS": {"tests.tasks.add": {"on_finish": on}}}):
            return [one.msg for one in check_settings(None) if one.id == "jobs.E010"]

    assert "tests.tasks has no vanished" in told("tests.tasks.vanished")[0]
    assert "does not fit noop()" in told("tests.tasks.noop")[0]
    assert told("tests.test_following.note_end") == []


@task
def wants_a_number(order_id: int) -> None: ...


def test_a_callback_that_expects_something_else_than_an_id_is_told() -> None:
    wrong = replace(watched, on_success=wants_a_number)
    with pytest.raises(InvalidTask, match="a UUID, and its argument is annotated int"):
        callback(wrong, "on_success")


def test_callbacks_that_go_round_are_told_by_the_check() -> None:
    ring = {
        note_end.name: replace(note_end, on_finish=note_success.name),
        note_success.name: replace(note_success, on_finish=note_end.name),
    }
    by_function = {one.func: one for one in ring.values()}
    with (
        mock.patch.dict(registry._by_name, ring),
        mock.patch.dict(registry._by_function, by_function),
    ):
        told = [one for one in check_settings(None) if one.id == "jobs.E010"]

    assert any("go round" in one.msg for one in told)


def test_a_callback_says_what_it_must_be() -> None:
    with pytest.raises(InvalidTask, match="on_success is 5; it must be a task"):
        task(on_success=5)(tasks.plain)  # type: ignore[call-overload]
    at_a_moment = replace(watched, on_success=note_end.using(run_after=timezone.now()))
    with pytest.raises(InvalidTask, match="run_after must be a timedelta"):
        callback(at_a_moment, "on_success")


# What goes wrong on the way.


def refuses_alarms() -> None:
    with django_connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jobs_job ADD CONSTRAINT calm CHECK (queue_name <> 'alarms')")


@pytest.fixture
def calm(transactional_db: None) -> Iterator[None]:
    """A rule of the site's that PostgreSQL keeps: no job may be an alarm."""
    refuses_alarms()
    yield
    with django_connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jobs_job DROP CONSTRAINT calm")


def test_a_job_ends_though_what_follows_is_refused(
    calm: None, start_worker: Callable[..., WorkerProcess], caplog: pytest.LogCaptureFixture
) -> None:
    failed = enqueue(watched, "boom")
    good = [enqueue(tasks.noop) for _ in range(3)]
    worker = start_worker("--processes", "1", "--burst")
    assert worker.wait() == 0
    failed.refresh()

    assert (failed.state, failed.errors[0].message) == ("failed", "boom")
    assert names(failed) == []
    assert f"nothing follows job {failed.pk}" in worker.output
    for job in good:
        job.refresh()
        assert job.state == "succeeded"


def test_a_poison_job_fails_though_what_follows_is_refused(
    calm: None, connection: psycopg.Connection[Any], claim: Callable[..., list[Claimed]]
) -> None:
    job = watched.using(max_losses=0).enqueue()
    [claimed] = claim()
    lifecycle.give_back(connection, claimed.claim, note="", charged=True)
    job.refresh()

    assert job.state == "failed"
    assert names(job) == []


@pytest.mark.django_db
def test_short_delays_and_ends_are_kept_exactly() -> None:
    soon = note_end.using(run_after=timedelta(microseconds=50), expires_after=timedelta(days=9))
    with mock.patch.dict(registry._by_function), mock.patch.dict(registry._by_name):
        object.__setattr__(watched, "on_finish", soon)
        registry.generation += 1
        try:
            job = enqueue(watched)
            run_jobs(job)
        finally:
            object.__setattr__(watched, "on_finish", note_end)
            registry.generation += 1
    [end] = [one for one in followers(job) if one.task == note_end.name]

    assert end.run_at - end.enqueued_at == timedelta(microseconds=50)
    assert end.expires_at == end.run_at + timedelta(days=9)


@pytest.mark.django_db
def test_a_task_that_becomes_known_later_is_followed_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_by_function", "_by_name"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    before = make_job("billing.charge")
    before.cancel()
    task(name="billing.charge", on_finish=note_end)(becomes_known)
    after = make_job("billing.charge")
    after.cancel()

    assert (names(before), names(after)) == ([], ["note_end"])


def becomes_known() -> None: ...


@pytest.mark.django_db
def test_one_bad_callback_takes_no_good_one_with_it() -> None:
    bad = {"tests.tasks.add": {"on_success": "tests.tasks.gone", "on_finish": note_end.name}}
    with override_settings(JOBS={"TASKS": bad}):
        job = enqueue(tasks.add, 1)
        run_jobs(job)

    assert names(job) == ["note_end"]


@pytest.mark.django_db
def test_callbacks_of_all_tasks_do_not_follow_one_another() -> None:
    everybody = {"*": {"on_success": note_success.name, "on_failure": always_fails.name}}
    with override_settings(JOBS={"TASKS": everybody}):
        assert [one.id for one in check_settings(None)] == []
        enqueue(tasks.noop)
        enqueue(tasks.boom)
        assert len(run_jobs()) == 4


def test_callbacks_that_could_not_be_enqueued_are_told_by_the_check() -> None:
    with override_settings(JOBS={"QUEUES": ["default"]}):
        told = [one.msg for one in check_settings(None) if one.id == "jobs.E010"]

    assert any("no queue 'alarms'" in one for one in told)
