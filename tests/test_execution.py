"""Run one job and judge how it ended, without a worker."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connections, transaction
from psycopg import IsolationLevel

from jobs import Cancel, Context, Job, Retry, Snooze, current_context, enqueue, lifecycle, task
from jobs.errors import JobCancelled, JobFailed, JobTimeout, OutsideJob, WaitRefused
from jobs.execution import aexecute, execute, execute_atomic
from jobs.lifecycle import Claimed
from jobs.outcomes import (
    Cancelled,
    Committed,
    Failed,
    Outcome,
    Problem,
    Retried,
    Snoozed,
    Succeeded,
    TakenOver,
)
from jobs.tasks import Task, as_task
from jobs.worker.report import tell_outcome
from tests import tasks
from tests.eventually import eventually
from tests.one_runner import OneRunner


def claimed(arguments: str = '{"args": [], "kwargs": {}}', **changes: Any) -> Claimed:
    row = ["0190-id", "tests.tasks.noop", arguments, 1, 0, None, "default", None, None, None]
    job = Claimed(row, "claim", 0.0)
    for name, value in changes.items():
        setattr(job, name, value)
    return job


def run(
    task: Task[..., Any], job: Claimed | None = None, context: Context | None = None
) -> Outcome:
    job = job or claimed()
    return execute(task, job, context or Context(job))


def raising(exception: BaseException, **options: Any) -> Task[..., Any]:
    made = as_task(task(**options)(tasks.boom.func)) if options else tasks.boom
    from dataclasses import replace

    def boom(message: str = "") -> None:
        raise exception

    boom.__qualname__, boom.__module__ = "boom", "tests.tasks"
    return replace(made, func=boom, **options)


def test_a_result_is_kept_as_json_and_none_as_nothing() -> None:
    assert run(tasks.add, claimed('{"args": [1], "kwargs": {"b": 2}}')) == Succeeded("3")
    assert run(tasks.noop) == Succeeded(None)


def test_tagged_arguments_arrive_as_they_were_given() -> None:
    arguments = '{"args": [{"$jobs": ["timedelta", [1, 0, 0]]}], "kwargs": {}}'

    outcome = run(tasks.echo, claimed(arguments))

    assert isinstance(outcome, Succeeded)
    assert '"timedelta"' in (outcome.result or "")


def test_an_exception_fails_the_job_with_the_tasks_own_frames() -> None:
    outcome = run(tasks.boom)

    assert isinstance(outcome, Failed)
    assert outcome.problem.exception_class == "builtins.ValueError"
    assert outcome.problem.message == "boom"
    assert "tests/tasks.py" in outcome.problem.traceback
    assert "jobs/execution" not in outcome.problem.traceback


@pytest.mark.parametrize("exception", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_a_process_ends_the_job_only(exception: BaseException) -> None:
    assert isinstance(run(raising(exception)), Failed)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_an_exception_that_cannot_be_told_is_recorded_all_the_same() -> None:
    outcome = run(raising(Unspeakable()))

    assert isinstance(outcome, Failed)
    assert "str() raised RuntimeError" in outcome.problem.message


def test_what_postgresql_refuses_is_cleaned_out_of_an_error() -> None:
    outcome = run(raising(ValueError("a\x00b \ud800 " + "x" * 100_000)))

    assert isinstance(outcome, Failed)
    assert "\x00" not in outcome.problem.message
    outcome.problem.traceback.encode()
    assert len(outcome.problem.message) < 50_000


def test_a_deep_recursion_is_an_ordinary_failure() -> None:
    def dig(message: str = "") -> None:
        # With its argument: CPython 3.13.0 never ends a recursion through defaults.
        dig(message)

    from dataclasses import replace

    dig.__qualname__ = "dig"
    outcome = run(replace(tasks.boom, func=dig))

    assert isinstance(outcome, Failed)
    assert "RecursionError" in outcome.problem.exception_class


def test_a_result_that_cannot_be_kept_fails_and_is_not_retried() -> None:
    from dataclasses import replace

    outcome = run(replace(tasks.unkeepable, max_attempts=5))

    assert isinstance(outcome, Failed)
    assert "the result of tests.tasks.unkeepable" in outcome.problem.message


def test_a_result_that_is_not_to_be_kept_need_not_be_json() -> None:
    from dataclasses import replace

    assert run(replace(tasks.unkeepable, keep_result=False)) == Succeeded(None)


def test_retries_stop_at_the_limit() -> None:
    flaky = raising(ConnectionError(), max_attempts=3, backoff=timedelta(seconds=7))

    first, last = run(flaky), run(flaky, claimed(failures=2))

    assert isinstance(first, Retried)
    assert first.delay == timedelta(seconds=7)
    assert isinstance(last, Failed)


def test_only_what_retry_on_names_is_retried() -> None:
    options: dict[str, Any] = {"retry_on": (OSError,), "dont_retry_on": (FileNotFoundError,)}

    assert isinstance(run(raising(ConnectionError(), **options)), Retried)
    assert isinstance(run(raising(FileNotFoundError(), **options)), Failed)
    assert isinstance(run(raising(ValueError(), **options)), Failed)


def test_a_back_off_that_says_none_gives_up_and_one_that_breaks_is_told() -> None:
    given_up = run(raising(ValueError("told"), max_attempts=9, backoff=lambda *_: None))
    broken = run(raising(ValueError("told"), max_attempts=9, backoff=lambda *_: 1 / 0))

    assert isinstance(given_up, Failed)
    assert given_up.problem.message == "told"
    assert isinstance(broken, Failed)
    assert "ZeroDivisionError" in broken.problem.exception_class
    assert "told" in broken.problem.traceback


def test_a_task_steers_its_own_job() -> None:
    asked = run(raising(Retry(timedelta(seconds=3))))
    snoozed = run(raising(Snooze(timedelta(hours=1))))
    cancelled = run(raising(Cancel("enough")))

    assert isinstance(asked, Retried)
    assert asked.delay == timedelta(seconds=3)
    assert snoozed == Snoozed(timedelta(hours=1))
    assert isinstance(cancelled, Cancelled)
    assert cancelled.problem.message == "enough"
    assert isinstance(run(raising(Retry()), claimed(failures=3)), Failed)


def test_an_interruption_is_judged_by_what_it_was() -> None:
    job = claimed()
    context = Context(job)
    context.interruption = JobTimeout("too long")
    timed_out = run(raising(JobTimeout()), job, context)
    context.interruption = JobCancelled("by ada")
    cancelled = run(raising(JobCancelled()), job, context)

    assert isinstance(timed_out, Failed)
    assert (timed_out.reason, timed_out.problem.message) == ("timeout", "too long")
    assert isinstance(cancelled, Cancelled)


def test_a_coroutine_function_runs_and_its_cancellation_is_a_failure_unless_we_did_it() -> None:
    job = claimed('{"args": [0], "kwargs": {}}')
    outcome = async_to_sync(aexecute)(tasks.async_nap, job, Context(job))
    interrupted = Context(job)
    interrupted.interruption = JobCancelled("by ada")

    assert outcome == Succeeded("0")
    assert isinstance(async_to_sync(aexecute)(tasks.async_nap, job, interrupted), Cancelled)


@task(timeout=timedelta(seconds=0.2))
async def cleans_up_in_a_group() -> None:
    async def sub() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            raise ConnectionError("the socket was closed already")

    async with asyncio.TaskGroup() as group:
        group.create_task(sub())


def test_a_time_limit_in_a_task_group_is_a_timeout_whatever_its_children_raise(
    one_runner: Callable[..., OneRunner],
) -> None:
    job = cleans_up_in_a_group.enqueue()
    runner = one_runner()
    runner.step_until(lambda: Job.objects.get(pk=job.pk).is_finished)

    job.refresh()
    assert (job.state, job.reason) == ("failed", "timeout")
    assert "the socket was closed already" in job.errors[0].traceback


def test_a_line_of_the_log_names_the_sites_innermost_own_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    traceback = """Traceback (most recent call last):
  File "/srv/shop/orders/tasks.py", line 12, in charge
    client.post(url)
  File "/srv/venv/lib/python3.12/site-packages/httpx/_models.py", line 829, in raise_for_status
    raise HTTPStatusError(message)
httpx.HTTPStatusError: 402
"""
    tell_outcome(claimed(), Failed(Problem("httpx.HTTPStatusError", "402", traceback), None))

    assert "402, orders/tasks.py:12 (job" in caplog.text
    assert "_models" not in caplog.text


def test_there_is_no_current_context_outside_of_a_job() -> None:
    with pytest.raises(OutsideJob):
        current_context()


# Atomic: function and finish in one transaction.


@task(atomic=True)
def register(name: str) -> int:
    user = User.objects.create(username=name)
    enqueue(tasks.noop)
    if name == "evil":
        raise ValueError(name)
    if name == "hook":
        transaction.on_commit(lambda: 1 / 0)
    return user.pk


@pytest.fixture
def run_atomic(claim: Callable[..., list[Claimed]]) -> Callable[[str], tuple[Job[int], Outcome]]:
    def run(name: str, meanwhile: Callable[[Claimed], object] = lambda job: None) -> Any:
        row = register.enqueue(name)
        (job,) = [one for one in claim(10) if one.id == str(row.pk)]
        meanwhile(job)
        outcome = execute_atomic(register, job, Context(job), lifecycle.commit_finish)
        row.refresh()
        return row, outcome

    return run


def test_an_atomic_task_commits_its_work_its_jobs_and_its_finish_together(
    run_atomic: Callable[..., tuple[Job[int], Outcome]],
) -> None:
    job, outcome = run_atomic("ada")

    assert outcome == Committed()
    assert job.state == "succeeded"
    assert job.return_value == User.objects.get().pk
    assert Job.objects.filter(task="tests.tasks.noop").count() == 1


def test_an_atomic_task_that_fails_leaves_nothing(
    run_atomic: Callable[..., tuple[Job[int], Outcome]],
) -> None:
    job, outcome = run_atomic("evil")

    assert isinstance(outcome, Failed)
    assert not User.objects.exists()
    assert not Job.objects.filter(task="tests.tasks.noop").exists()
    assert job.state == "running"


def test_an_atomic_task_whose_claim_was_lost_is_rolled_back(
    run_atomic: Callable[..., tuple[Job[int], Outcome]], connection: Any
) -> None:
    def taken(job: Claimed) -> None:
        lifecycle.give_back(connection, job.claim, note="", charged=True)

    job, outcome = run_atomic("ada", taken)

    assert outcome == TakenOver()
    assert not User.objects.exists()
    assert job.state == "queued"


def test_an_on_commit_hook_that_raises_does_not_undo_a_success(
    run_atomic: Callable[..., tuple[Job[int], Outcome]],
) -> None:
    job, outcome = run_atomic("hook")

    assert outcome == Committed()
    assert job.state == "succeeded"


@task(atomic=True)
def renames(pk: int, started: str, goes_on: str) -> None:
    User.objects.filter(pk=pk).update(username="bea")
    current_context().set_progress(1, 2)
    Path(started).touch()
    eventually(Path(goes_on).exists, within=60)


class Renaming(NamedTuple):
    """An atomic task that has renamed a user, and waits for a file before it ends."""

    user: User
    job: Job[None]
    runner: OneRunner
    goes_on: Path

    def ends(self) -> None:
        self.goes_on.touch()
        self.runner.step_until(lambda: Job.objects.get(pk=self.job.pk).is_finished)
        self.job.refresh()
        self.user.refresh_from_db()


@pytest.fixture
def start_renaming(tmp_path: Path, one_runner: Callable[..., OneRunner]) -> Callable[[], Renaming]:
    def start() -> Renaming:
        started, goes_on = tmp_path / "started", tmp_path / "goes on"
        user = User.objects.create(username="ada")
        job = renames.enqueue(user.pk, str(started), str(goes_on))
        runner = one_runner()
        runner.step_until(started.exists)
        return Renaming(user, job, runner, goes_on)

    return start


def test_a_cancellation_that_waits_for_what_an_atomic_task_holds_gets_it(
    start_renaming: Callable[[], Renaming],
) -> None:
    renaming = start_renaming()

    with transaction.atomic():
        # This holds the job's row, which the task's end needs, and needs the user's row, which the
        # task holds.
        renaming.job.cancel(by="ada", because="enough")
        renaming.goes_on.touch()
        User.objects.filter(pk=renaming.user.pk).update(username="cleo")
    renaming.ends()

    job = renaming.job
    assert (job.state, job.cancelled_by, job.failures) == ("cancelled", "ada", 0)
    assert renaming.user.username == "cleo"


@pytest.fixture
def repeatable_read(monkeypatch: pytest.MonkeyPatch) -> None:
    options = connections.settings["default"]["OPTIONS"]
    monkeypatch.setitem(options, "isolation_level", IsolationLevel.REPEATABLE_READ)


@pytest.mark.usefixtures("repeatable_read")
def test_an_atomic_task_under_repeatable_read_writes_no_progress_and_succeeds(
    start_renaming: Callable[[], Renaming],
) -> None:
    renaming = start_renaming()
    # Longer than between two writes of progress.
    until = time.monotonic() + 1.5
    renaming.runner.step_until(lambda: time.monotonic() > until)
    assert Job.objects.get(pk=renaming.job.pk).progress is None
    renaming.ends()

    job = renaming.job
    assert (job.state, job.failures, job.attempt) == ("succeeded", 0, 1)


@pytest.mark.usefixtures("repeatable_read")
def test_a_change_of_its_row_under_repeatable_read_lets_an_atomic_task_run_again(
    start_renaming: Callable[[], Renaming],
) -> None:
    renaming = start_renaming()
    Job.objects.filter(pk=renaming.job.pk).update(metadata={"seen": True})
    renaming.ends()

    job = renaming.job
    assert (job.state, job.failures, job.attempt) == ("succeeded", 0, 2)
    assert renaming.user.username == "bea"


# Waiting.


@pytest.mark.django_db
def test_waiting_in_an_open_transaction_is_refused() -> None:
    job = enqueue(tasks.noop)

    with pytest.raises(WaitRefused, match="leave atomic"):
        job.wait()


@pytest.mark.django_db(transaction=True)
def test_waiting_inside_of_a_task_is_refused() -> None:
    job = enqueue(tasks.noop)

    def waits(message: str = "") -> None:
        Context(claimed()).enter()
        job.wait()

    from contextvars import copy_context
    from dataclasses import replace

    waits.__qualname__ = "waits"
    outcome = copy_context().run(run, replace(tasks.boom, func=waits))

    assert isinstance(outcome, Failed)
    assert outcome.problem.exception_class == "jobs.errors.WaitRefused"


@pytest.mark.django_db(transaction=True)
def test_waiting_ends_with_the_time() -> None:
    job = enqueue(tasks.noop)

    with pytest.raises(TimeoutError, match=r"still queued after 0\.05 s"):
        job.wait(timeout=0.05)
    with pytest.raises(TimeoutError):
        async_to_sync(job.await_result)(timedelta(0))


@pytest.mark.django_db(transaction=True)
def test_waiting_for_a_failed_or_cancelled_job_raises_what_happened(
    connection: Any, claim: Callable[..., list[Claimed]]
) -> None:
    failed, cancelled = enqueue(tasks.boom), enqueue(tasks.noop)
    cancelled.cancel(by="ada", because="enough")
    (job,) = claim()
    job.started_at = job.finished_at = job.now()
    lifecycle.record(connection, [lifecycle.Ended(job, run(tasks.boom))])

    with pytest.raises(JobFailed) as failure:
        failed.wait()
    assert failure.value.exception_class == "builtins.ValueError"
    assert "tests/tasks.py" in failure.value.traceback
    with pytest.raises(JobCancelled, match="cancelled by ada: enough"):
        cancelled.wait()
