"""Time limits and cancellations that a task does not heed: its process is killed."""

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection, transaction

from jobs import enqueue
from jobs.models import Job, Worker
from tests import tasks
from tests.eventually import eventually
from tests.workers import WorkerProcess

Start = Callable[..., WorkerProcess]
GRACE = {"JOBS_TEST_INTERRUPT_GRACE": "0.5"}
SOON = timedelta(seconds=0.3)


def ended(job: Job[object]) -> Job[object]:
    eventually(lambda: Job.objects.get(pk=job.pk).is_finished)
    job.refresh()
    return job


@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_task_that_swallows_its_interruption_is_killed_and_alone_charged(
    start_worker: Start, tmp_path: Path, threads: str
) -> None:
    started = tmp_path / "started"
    worker = start_worker("--processes", "1", "--threads", threads, **GRACE).until_ready()
    sibling = enqueue(tasks.async_nap, 3)
    eventually(lambda: Job.objects.get(pk=sibling.pk).state == "running")
    stubborn = enqueue(tasks.swallows_its_interruption, str(started))

    ended(stubborn)
    assert (stubborn.state, stubborn.reason, stubborn.failures) == ("failed", "timeout", 1)
    assert (stubborn.attempt, stubborn.losses) == (1, 0)
    # Its limit, and then its grace.
    assert (stubborn.finished_at - stubborn.last_attempted_at).total_seconds() >= 0.7
    (error,) = stubborn.errors
    assert error.exception_class_path == "jobs.errors.JobTimeout"
    assert "went on after its time limit" in error.message
    assert "in swallows_its_interruption" in error.traceback

    ended(sibling)
    assert (sibling.state, sibling.losses, sibling.failures) == ("succeeded", 0, 0)
    assert sibling.attempt == 2
    assert worker.stop() == 0


def test_a_killed_attempt_is_retried_as_its_task_says(start_worker: Start) -> None:
    start_worker("--processes", "1", **GRACE)
    job = ended(enqueue(tasks.swallows_it_once))

    assert (job.state, job.attempt, job.failures, job.losses) == ("succeeded", 2, 1, 0)
    assert [error.reason for error in job.errors] == ["timeout"]


def test_a_task_that_holds_the_interpreter_is_killed_at_its_limit(start_worker: Start) -> None:
    start_worker("--processes", "1", **GRACE)
    job = ended(tasks.computes_for_ever.using(timeout=SOON).enqueue())

    assert (job.state, job.reason) == ("failed", "timeout")
    assert "in computes_for_ever" in job.errors[0].traceback


def test_a_coroutine_that_blocks_its_loop_is_killed_at_its_limit(start_worker: Start) -> None:
    start_worker("--processes", "1", **GRACE)
    job = ended(tasks.blocks_the_loop.using(timeout=SOON).enqueue(60))

    assert (job.state, job.reason) == ("failed", "timeout")


@pytest.mark.parametrize("holds_the_interpreter", [False, True])
def test_a_running_job_that_heeds_no_cancellation_is_killed(
    start_worker: Start, tmp_path: Path, holds_the_interpreter: bool
) -> None:
    start_worker("--processes", "1", **GRACE)
    if holds_the_interpreter:
        job: Job[object] = enqueue(tasks.computes_for_ever)
    else:
        stubborn = tasks.swallows_its_interruption.using(timeout=timedelta(hours=1))
        job = stubborn.enqueue(str(tmp_path / "started"))
    eventually(lambda: Job.objects.get(pk=job.pk).state == "running")

    job.cancel(by="eve", because="enough")

    ended(job)
    assert (job.state, job.reason) == ("cancelled", "cancelled")
    assert (job.cancelled_by, job.cancelled_because) == ("eve", "enough")
    assert (job.failures, job.losses) == (0, 0)


def test_an_interrupted_task_has_its_grace_to_clean_up(start_worker: Start, tmp_path: Path) -> None:
    start_worker("--processes", "1", JOBS_TEST_INTERRUPT_GRACE="5")
    clean = tmp_path / "clean"
    job = ended(tasks.cleans_up.using(timeout=SOON).enqueue(str(clean), 0.5))

    assert (job.state, job.reason) == ("failed", "timeout")
    assert clean.exists()
    assert "time.sleep(60)" in job.errors[0].traceback


def test_a_worker_that_slept_gives_interrupted_tasks_their_grace(
    start_worker: Start, tmp_path: Path
) -> None:
    """As when a laptop is closed: nobody is killed for the time that nobody had."""
    worker = start_worker("--processes", "1", JOBS_TEST_INTERRUPT_GRACE="2").until_ready()
    clean = tmp_path / "clean"
    job = tasks.cleans_up.using(timeout=timedelta(seconds=1)).enqueue(str(clean), 0.5)
    eventually(lambda: Job.objects.get(pk=job.pk).state == "running")
    family = [worker.pid, *worker.runners()]

    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4)
    for pid in family:
        os.kill(pid, signal.SIGCONT)

    ended(job)
    assert (job.state, job.reason) == ("failed", "timeout")
    assert clean.exists()
    assert worker.runners() == family[1:]
    assert Worker.objects.exists()


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_job_that_never_ends_and_has_no_limit_is_told_of_with_where_it_is(
    start_worker: Start, threads: str
) -> None:
    worker = start_worker("--processes", "1", "--threads", threads, JOBS_TEST_STUCK_AFTER="1")
    jobs = [enqueue(tasks.nap, 5), enqueue(tasks.async_nap, 5)]
    for job in jobs:
        eventually(lambda job=job: f"job {job.pk} has run for" in worker.output)

    for job in jobs:
        job.wait(timeout=15)
        # Once, however long it goes on.
        assert worker.output.count(f"job {job.pk} has run for") == 1
    assert "in nap\n" in worker.output
    assert "in async_nap\n" in worker.output
    assert "in sleep\n" in worker.output


def test_a_limited_job_beside_one_that_blocks_the_loop_is_not_to_blame(
    start_worker: Start,
) -> None:
    """Nobody is killed: the one has no limit, and the other hears of its own in the end."""
    worker = start_worker("--processes", "1", **GRACE).until_ready()
    runners = worker.runners()
    innocent = tasks.async_nap.using(timeout=timedelta(seconds=4)).enqueue(30)
    eventually(lambda: Job.objects.get(pk=innocent.pk).state == "running")
    blocking = enqueue(tasks.blocks_the_loop, 8)
    eventually(lambda: Job.objects.get(pk=blocking.pk).state == "running")
    assert Job.objects.get(pk=innocent.pk).state == "running"

    ended(blocking)
    ended(innocent)
    assert (blocking.state, blocking.attempt) == ("succeeded", 1)
    assert (innocent.state, innocent.reason) == ("failed", "timeout")
    assert (innocent.attempt, innocent.losses) == (1, 0)
    assert worker.runners() == runners


def test_slow_statements_of_the_supervisor_put_off_no_limit(
    start_worker: Start, tmp_path: Path
) -> None:
    settings = {"JOBS_TEST_INTERRUPT_GRACE": "3", "JOBS_TEST_HEARTBEAT": "1"}
    worker = start_worker("--processes", "1", **settings).until_ready()
    runners = worker.runners()
    job = enqueue(tasks.swallows_its_interruption, str(tmp_path / "started"))
    eventually((tmp_path / "started").exists)

    with transaction.atomic(), connection.cursor() as cursor:
        # Each heartbeat waits for two seconds, and in vain.
        cursor.execute("LOCK TABLE jobs_worker IN EXCLUSIVE MODE")
        eventually(lambda: worker.runners() != runners, within=10)

    ended(job)
    assert (job.state, job.reason) == ("failed", "timeout")
