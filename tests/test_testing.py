"""Tools for a site's tests: jobs that run here and now, inside of a test's transaction, too."""

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any
from unittest.mock import ANY

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, connections, transaction
from django.db.models.functions import Now
from django.test import override_settings
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from jobs import Job, aenqueue, enqueue, enqueue_many, signals, task, testing
from jobs.errors import InvalidCall, JobFailed, JobsError
from jobs.models import Claim, State, Worker
from jobs.testing import (
    assert_enqueued,
    assert_not_enqueued,
    immediate,
    make_job,
    run_beat,
    run_jobs,
    travel,
)
from tests import django_tasks, tasks


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


@pytest.mark.django_db
def test_one_job_may_be_run_and_no_other() -> None:
    before, one, behind = enqueue(tasks.add, 1), enqueue(tasks.flaky, 2), enqueue(tasks.add, 3)
    later = tasks.noop.using(run_after=timedelta(hours=1)).enqueue()

    assert [job.pk for job in run_jobs(one)] == [one.pk]
    assert run_jobs(one, later) == []
    states: dict[Any, Any] = {job.pk: (job.state, job.attempt) for job in Job.objects.all()}
    assert states == {
        before.pk: ("queued", 0),
        one.pk: ("succeeded", 2),
        behind.pk: ("queued", 0),
        later.pk: ("queued", 0),
    }


# Limits, and errors that are raised.


@task(timeout=timedelta(seconds=0.05))
def naps_too_long() -> None:
    time.sleep(5)


@task(timeout=timedelta(seconds=0.05))
async def waits_too_long() -> None:
    await asyncio.sleep(5)


@task(timeout=timedelta(seconds=20))
def ends_in_time() -> int:
    return 5


@pytest.mark.django_db
def test_time_limits_hold_as_with_a_worker() -> None:
    before = signal.getsignal(signal.SIGVTALRM)
    late, late_too, early = enqueue(naps_too_long), enqueue(waits_too_long), enqueue(ends_in_time)
    run_jobs()

    ends: dict[Any, Any] = {job.pk: (job.state, job.reason) for job in Job.objects.all()}
    assert ends[late.pk] == ends[late_too.pk] == ("failed", "timeout")
    assert ends[early.pk] == ("succeeded", None)
    assert signal.getsignal(signal.SIGVTALRM) == before


@pytest.mark.django_db
def test_a_time_limit_holds_in_another_thread_too() -> None:
    # It takes effect where Python code runs: a nap in bites.
    job = tasks.naps_in_small_bites.using(timeout=timedelta(seconds=0.05)).enqueue(5)
    thread = ThreadPoolExecutor(max_workers=1)
    own = connections["default"]
    own.inc_thread_sharing()
    try:

        def run() -> None:
            connections["default"] = own
            run_jobs()

        thread.submit(run).result(10)
    finally:
        own.dec_thread_sharing()
        thread.shutdown()
    job.refresh()

    assert (job.state, job.reason) == ("failed", "timeout")


@pytest.mark.django_db
def test_a_failure_is_raised_when_asked_for_with_its_traceback() -> None:
    enqueue(tasks.boom, "told")

    with pytest.raises(JobFailed, match="ValueError: told") as raised:
        run_jobs(raising=True)
    assert "tests/tasks.py" in "".join(raised.value.__notes__)
    assert Job.objects.get().state == "failed"


# At once.


@pytest.mark.django_db
def test_immediate_jobs_have_ended_when_enqueue_returns() -> None:
    with immediate():
        job = enqueue(tasks.add, 1)
        [many] = enqueue_many(tasks.add, [(2,)])
        later = tasks.add.using(run_after=timedelta(hours=1)).enqueue(3)

    assert job.return_value == 2
    assert Job.objects.get(pk=many).return_value == 3
    assert later.state == "queued"
    assert enqueue(tasks.noop).state == "queued"


@pytest.mark.django_db
def test_immediate_arguments_and_results_have_been_through_json() -> None:
    given: list[Any] = [mark_safe("<b>"), gettext_lazy("a")]
    with immediate():
        job = enqueue(tasks.echo, given)

    [[[came, translated]], _] = job.return_value
    assert (type(came), type(translated)) == (str, str)


@pytest.mark.django_db
def test_what_an_immediate_job_enqueues_runs_behind_it() -> None:
    with immediate():
        enqueue(enqueues_another, 2)

    assert [job.return_value for job in Job.objects.order_by("pk")] == [2, 1, 0]


@pytest.mark.django_db
def test_immediate_failures_are_states_or_raised_as_asked() -> None:
    with immediate():
        assert enqueue(tasks.boom).state == "failed"
    with immediate(raising=True), pytest.raises(JobFailed):
        enqueue(tasks.boom)


@pytest.mark.django_db
def test_async_code_enqueues_immediate_jobs_too() -> None:
    async def view() -> tuple[int, float]:
        job, slow = await aenqueue(tasks.add, 1), await aenqueue(tasks.async_nap, 0.0)
        return job.return_value, slow.return_value

    with immediate():
        assert async_to_sync(view)() == (2, 0.0)


def test_the_fixture_runs_jobs_at_once(immediate_jobs: None) -> None:
    assert enqueue(tasks.add, 1).return_value == 2


@pytest.mark.django_db
def test_jobs_of_on_commit_hooks_run_when_those_are_executed(
    django_capture_on_commit_callbacks: Any,
) -> None:
    with immediate(), django_capture_on_commit_callbacks(execute=True):
        transaction.on_commit(lambda: enqueue(tasks.add, 1) and None)
        assert not Job.objects.exists()

    assert Job.objects.get().return_value == 2


@pytest.mark.django_db
def test_of_two_the_inner_one_says_whether_failures_are_raised() -> None:
    with immediate():
        with immediate(raising=True), pytest.raises(JobFailed):
            enqueue(tasks.boom)
        assert enqueue(tasks.boom).state == "failed"


@pytest.mark.django_db
def test_a_task_of_djangos_own_api_tells_its_result_at_once() -> None:
    with immediate():
        result = django_tasks.boom.enqueue("told")

    assert result.status.name == "FAILED"
    assert result.errors[0].exception_class is ValueError


@pytest.mark.django_db
def test_ctrl_c_in_a_receiver_is_the_testers_own_too() -> None:
    def interrupt(**told: Any) -> None:
        raise KeyboardInterrupt

    signals.job_started.connect(interrupt)
    enqueue(tasks.noop)
    try:
        with pytest.raises(KeyboardInterrupt), transaction.atomic():
            run_jobs()
    finally:
        signals.job_started.disconnect(interrupt)


# What was enqueued.


@pytest.mark.django_db
def test_rows_that_fit_no_more_are_passed_over() -> None:
    make_job(tasks.add, state="failed")
    gone = User.objects.create(username="gone")
    enqueue(tasks.echo, gone)
    gone.delete()
    job = enqueue(tasks.add, 7)

    assert assert_enqueued(tasks.add, args=(7,)) == [job]
    assert_not_enqueued(tasks.echo, args=(1,))
    with pytest.raises(AssertionError, match="'model'"):
        assert_not_enqueued(tasks.echo)


@pytest.mark.django_db
def test_a_call_is_found_however_it_was_written() -> None:
    job = enqueue(tasks.add, 1, b=2)

    for args, kwargs in (((1, 2), None), ((1,), {"b": 2}), ((), {"a": 1, "b": 2})):
        assert assert_enqueued(tasks.add, args=args, kwargs=kwargs, times=1) == [job]
    assert assert_enqueued(tasks.add, args=(ANY, 2)) == [job]
    assert assert_enqueued(tasks.add) == assert_enqueued() == [job]
    assert_not_enqueued(tasks.add, args=(1,))
    assert_not_enqueued(tasks.noop)


@pytest.mark.django_db
def test_options_and_moments_are_compared() -> None:
    when = timezone.now() + timedelta(days=1)
    tasks.noop.using(run_after=timedelta(hours=1), queue_name="mail", priority=3).enqueue()
    tasks.noop.using(run_after=when).enqueue()

    assert_enqueued(tasks.noop, run_after=timedelta(hours=1), queue_name="mail", times=1)
    assert_enqueued(tasks.noop, run_after=when, times=1)
    assert_enqueued(tasks.noop, priority=3, times=1)
    assert_not_enqueued(tasks.noop, run_after=timedelta(hours=2))
    assert_enqueued(tasks.noop, times=2)


@pytest.mark.django_db
def test_it_is_found_after_it_has_run_and_in_any_form_of_the_task() -> None:
    user = User.objects.create(username="ada")
    enqueue(tasks.plain, "a")
    enqueue(tasks.echo, user)
    run_jobs()

    assert_enqueued(tasks.plain, args=["a"])
    assert_enqueued(task(tasks.plain), kwargs={"word": "a"})
    assert_enqueued(tasks.echo, args=[user])


@pytest.mark.django_db
def test_a_failed_assertion_lists_what_there_is() -> None:
    with pytest.raises(AssertionError, match=r"noop was enqueued never\. Nothing was"):
        assert_enqueued(tasks.noop)
    tasks.add.using(queue_name="mail", run_after=timedelta(minutes=5)).enqueue(1, b=3)

    with pytest.raises(AssertionError) as raised:
        assert_enqueued(tasks.add, args=(2,), times=2)
    told = str(raised.value)
    assert "tests.tasks.add, args=(2,) was enqueued never, not 2 times. There is:" in told
    assert "tests.tasks.add(1, b=3)  queue_name='mail', run_after=0:05:00, queued" in told
    with pytest.raises(AssertionError, match="any task was enqueued 1 times, not 0 times"):
        assert_not_enqueued()


@pytest.mark.django_db
def test_an_assertion_that_could_never_hold_says_so() -> None:
    with pytest.raises(InvalidCall, match="unexpected keyword argument 'c'"):
        assert_enqueued(tasks.add, args=(1,), kwargs={"c": 2})
    with pytest.raises(TypeError, match="pass the task itself"):
        assert_enqueued("tests.tasks.add")


@pytest.mark.django_db
def test_a_job_that_was_retried_is_listed_by_its_failures() -> None:
    enqueue(fails_for_a_while)
    run_jobs()

    with pytest.raises(AssertionError, match=r"queue_name='default', 1 failures, queued"):
        assert_enqueued(fails_for_a_while, run_after=timedelta(0))
    enqueue(tasks.echo, date(2026, 1, 2))
    with pytest.raises(AssertionError, match=r"echo\(datetime.date\(2026, 1, 2\)\)"):
        assert_not_enqueued(tasks.echo)


# Another time.


@task(max_attempts=2, backoff=timedelta(minutes=10))
def fails_for_a_while() -> None:
    raise ConnectionError


@pytest.mark.django_db
def test_travelling_makes_due_what_is_delayed_and_what_is_retried() -> None:
    later = tasks.add.using(run_after=timedelta(hours=1)).enqueue(1)
    retried = enqueue(fails_for_a_while)
    assert [job.pk for job in run_jobs()] == [retried.pk]

    with travel(timedelta(minutes=11)):
        assert [job.pk for job in run_jobs()] == [retried.pk]
        with travel(timedelta(minutes=50)):
            assert [job.pk for job in run_jobs()] == [later.pk]
            inner = enqueue(tasks.noop)
        between = enqueue(tasks.noop)
    now = enqueue(tasks.noop)

    later.refresh()
    assert later.last_attempted_at - later.run_at < timedelta(minutes=2)
    assert inner.enqueued_at - between.enqueued_at > timedelta(minutes=49)
    assert between.enqueued_at - now.enqueued_at > timedelta(minutes=10)
    assert abs(now.enqueued_at - timezone.now()) < timedelta(minutes=1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'jobs_travel'")
        assert cursor.fetchone() is None


@pytest.mark.django_db
def test_travelling_to_a_moment_and_what_expires_meanwhile() -> None:
    job = tasks.noop.using(expires_after=timedelta(minutes=5)).enqueue()
    moment = datetime(2099, 12, 31, 23, 59, tzinfo=UTC)
    with travel(moment):
        run_jobs()
    job.refresh()

    assert (job.state, job.reason) == ("cancelled", "expired")
    assert abs(job.finished_at - moment) < timedelta(seconds=5)
    with pytest.raises(ValueError, match="knows its time zone"), travel(datetime(2099, 1, 1)):
        pass


@pytest.mark.django_db(transaction=True)
def test_travelling_needs_no_transaction() -> None:
    later = tasks.add.using(run_after=timedelta(hours=1)).enqueue(1)
    with travel(timedelta(hours=2)):
        assert [job.pk for job in run_jobs()] == [later.pk]
    assert abs(enqueue(tasks.noop).enqueued_at - timezone.now()) < timedelta(minutes=1)


@pytest.mark.django_db
def test_a_journey_ends_however_the_test_breaks() -> None:
    with suppress(DatabaseError), transaction.atomic(), travel(timedelta(hours=2)):
        breaks_its_transaction.call()
    assert abs(enqueue(tasks.noop).enqueued_at - timezone.now()) < timedelta(minutes=1)


@pytest.mark.django_db
def test_a_frozen_clock_makes_nothing_due_that_is_due_a_moment_later() -> None:
    with travel(timedelta(hours=1), freeze=True):
        made = [tasks.noop.using(run_after=timedelta(milliseconds=1)).enqueue() for _ in range(3)]
        time.sleep(0.01)
        assert run_jobs() == []
        with travel(timedelta(milliseconds=1), freeze=True):
            assert len(run_jobs()) == 3
        assert len({job.enqueued_at for job in made}) == 1
    assert abs(enqueue(tasks.noop).enqueued_at - timezone.now()) < timedelta(minutes=1)


@pytest.mark.django_db
def test_the_setting_lets_jobs_run_at_once_as_long_as_it_stands() -> None:
    with override_settings(JOBS={"IMMEDIATE": True}):
        job = enqueue(enqueues_another, 2)
        assert job.return_value == 2
        with override_settings(JOBS={"IMMEDIATE": False}):
            assert enqueue(tasks.noop).state == "queued"
        assert enqueue(tasks.noop).state == "succeeded"
    assert enqueue(tasks.noop).state == "queued"


@pytest.mark.django_db
def test_a_beat_fires_what_is_due_at_the_time_travelled_to() -> None:
    nightly = {"nightly": {"task": "tests.tasks.told_its_tick", "schedule": "0 3 * * *"}}
    nightly["nightly"]["tick_argument"] = "tick"
    with override_settings(JOBS={"SCHEDULES": nightly}):
        assert run_beat() == []
        with travel(timedelta(days=1)):
            [job] = run_beat()
            assert run_beat() == []
            run_jobs()
    job.refresh()

    assert job.tick.hour == 3
    assert job.state == "succeeded", job.errors


# Any state.


@pytest.mark.django_db
@pytest.mark.parametrize("state", State.values)
def test_a_job_is_made_in_any_state_with_what_belongs_to_it(state: str) -> None:
    job = make_job(tasks.add, [1], {"b": 2}, state=state, priority=7)

    assert (job.state, job.task, job.args, job.priority) == (state, tasks.add.name, [1], 7)
    assert job.is_finished == (state in ("succeeded", "failed", "cancelled"))
    assert bool(job.errors) == (state == "failed")
    assert list(Job.objects.running()) == ([job] if state == "running" else [])


@pytest.mark.django_db
def test_made_jobs_keep_results_errors_and_columns() -> None:
    assert make_job(state="succeeded", result=date(2026, 1, 2)).return_value == date(2026, 1, 2)
    failed = make_job(state="failed", error=KeyError("lost"))
    assert (failed.errors[0].exception_class, failed.errors[0].message) == (KeyError, "'lost'")
    retrying = make_job(tasks.add, [1], error=ValueError("once"))
    assert list(Job.objects.retrying()) == [retrying]
    assert run_jobs()[-1].return_value == 2
    with pytest.raises(TypeError, match="unexpected keyword"):
        make_job(colour="red")


# A worker beside.


def test_a_live_worker_runs_what_is_committed(live_worker: None) -> None:
    assert enqueue(tasks.add, 1).wait(timeout=10) == 2
    assert enqueue(tasks.async_nap, 0.01).wait(timeout=10) == 0.01
    assert enqueue(tasks.asks_the_database).wait(timeout=10) is not None
    with pytest.raises(JobFailed, match="ValueError: told"):
        enqueue(tasks.boom, "told").wait(timeout=10)


@pytest.mark.django_db(transaction=True)
def test_a_live_worker_sees_what_the_test_has_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS_WORD", "patched")
    with testing.live_worker():
        assert enqueue(tells_a_word).wait(timeout=10) == "patched"
    assert not Worker.objects.exists()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("jobs ")]
    assert left == []


@task
def tells_a_word() -> str:
    assert User.objects.count() == 0
    return os.environ["JOBS_WORD"]


@pytest.mark.django_db
def test_a_live_worker_is_refused_where_it_would_see_nothing() -> None:
    with pytest.raises(JobsError, match="use TransactionTestCase"), testing.live_worker():
        pass
