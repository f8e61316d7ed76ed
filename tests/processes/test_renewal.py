"""Runners that are renewed, added and retired; workers that drain, and begin anew with new code."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from jobs import enqueue, enqueue_many
from jobs.models import Job, Worker
from tests import tasks
from tests.eventually import eventually
from tests.workers import WorkerProcess

Start = Callable[..., WorkerProcess]


def test_runners_are_renewed_after_so_many_jobs_and_lose_none(start_worker: Start) -> None:
    enqueue_many(tasks.tells_its_process, [()] * 3000)
    worker = start_worker("--burst", "--processes", "2", "--max-jobs", "500")

    assert worker.wait() == 0, worker.output
    jobs = list(Job.objects.all())
    assert {(job.state, job.losses) for job in jobs} == {("succeeded", 0)}
    assert len({job.return_value for job in jobs}) > 2
    assert "and a new one begins" in worker.output


def test_a_runner_that_has_grown_too_large_is_renewed(start_worker: Start) -> None:
    start_worker("--processes", "1", "--max-memory", "250")
    first: int = enqueue(tasks.leaks, 300).wait(timeout=15)

    eventually(lambda: enqueue(tasks.tells_its_process).wait(timeout=15) != first)


def test_a_runner_that_is_old_enough_is_renewed_between_jobs(start_worker: Start) -> None:
    start_worker("--processes", "1", "--max-age", "1")
    job = enqueue(tasks.nap, 2)
    first: int = enqueue(tasks.tells_its_process).wait(timeout=15)

    eventually(lambda: enqueue(tasks.tells_its_process).wait(timeout=15) != first)
    assert job.wait(timeout=15) == 2
    job.refresh()
    assert (job.attempt, job.losses) == (1, 0)


def test_a_worker_grows_while_jobs_wait_for_it(start_worker: Start) -> None:
    worker = start_worker("--autoscale", "1,3").until_ready()
    assert len(worker.runners()) == 1

    enqueue_many(tasks.nap, [(10,)] * 4)

    eventually(lambda: len(worker.runners()) == 3, within=30)
    eventually(lambda: Job.objects.running().count() == 3)
    assert worker.stop() == 0


def test_a_runner_that_has_nothing_to_do_is_stopped_and_loses_nothing(start_worker: Start) -> None:
    worker = start_worker("--autoscale", "1,2", JOBS_TEST_RETIRE_AFTER="1").until_ready()
    enqueue_many(tasks.nap, [(4,)] * 4)
    eventually(lambda: len(worker.runners()) == 2, within=15)

    eventually(lambda: not Job.objects.exclude(state="succeeded").exists(), within=60)
    eventually(lambda: len(worker.runners()) == 1)

    assert enqueue(tasks.add, 1).wait(timeout=15) == 2
    assert {(job.state, job.attempt) for job in Job.objects.all()} == {("succeeded", 1)}
    assert len(worker.runners()) == 1
    assert worker.stop() == 0
    assert "is stopped" in worker.output


def test_a_draining_worker_waits_for_as_long_as_it_takes(
    start_worker: Start, tmp_path: Path
) -> None:
    worker = start_worker("--processes", "1", "--drain", "--grace-period", "0.1").until_ready()
    started = tmp_path / "started"
    job = enqueue(tasks.says_that_it_started, str(started), 2)
    eventually(started.exists)

    assert worker.stop() == 0
    job.refresh()
    assert (job.state, job.attempt) == ("succeeded", 1)


def test_a_worker_begins_anew_when_code_has_changed(start_worker: Start) -> None:
    worker = start_worker("--processes", "1", "--reload").until_ready()
    before = Worker.objects.get()
    # What changes is the moment only, which is all that is looked at.
    path = Path(tasks.__file__)
    moment = time.time()
    os.utime(path, (moment, moment))

    eventually(lambda: Worker.objects.exclude(pk=before.pk).exclude(runners=[]).exists())
    assert Worker.objects.get().pid == worker.pid == before.pid
    assert enqueue(tasks.add, 1).wait(timeout=15) == 2
    assert "tests/tasks.py has changed" in worker.output


def test_jobs_of_an_unknown_task_are_left_for_others_and_fail_in_the_end(
    start_worker: Start,
) -> None:
    """As during a rolling deploy: a worker that knows the task takes the job."""
    job = enqueue(tasks.noop)
    Job.objects.update(task="tests.tasks.of_tomorrow")
    old = start_worker("--processes", "1", JOBS_TEST_UNKNOWN_TASK_PATIENCE="10").until_ready()

    eventually(lambda: "left for other workers" in old.output)
    eventually(lambda: Job.objects.get(pk=job.pk).state == "queued")
    job.refresh()
    assert (job.failures, job.losses, list(job.errors)) == (0, 0, [])
    eventually(lambda: Job.objects.get(pk=job.pk).state == "failed", within=60)
    job.refresh()
    assert "no module" in job.errors[0].message or "of_tomorrow" in job.errors[0].message
    assert "restart this worker" in job.errors[0].message
