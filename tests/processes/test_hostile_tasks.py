"""Whatever a task does, its job says so, and no other job and no worker is hurt."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from jobs import Job, enqueue, enqueue_many
from jobs.models import Claim
from tests import tasks
from tests.eventually import eventually
from tests.workers import WorkerProcess

Start = Callable[..., WorkerProcess]

HOSTILE: list[tuple[Any, str]] = [
    (tasks.raises_the_unspeakable, "str() raised SystemExit"),
    (tasks.exits, "3"),
    (tasks.snoozes_for_a_number, "Snooze's delay is 5; it must be a timedelta"),
    (tasks.exits_in_a_sub_task, ""),
    (tasks.is_interrupted_in_a_query, "longer than its time limit"),
    (tasks.unkeepable, "which cannot be kept"),
]
ODD = [
    tasks.tells_a_surrogate,
    tasks.forks_and_its_child_exits,
    tasks.forks_in_a_coroutine,
    tasks.uses_a_pool_of_processes,
    tasks.stops_the_loop,
    tasks.leaves_an_alarm,
    tasks.leaves_a_transaction_open,
    tasks.closes_its_connection,
]


def unfinished() -> int:
    return Job.objects.exclude(state__in=["succeeded", "failed"]).count()


@pytest.mark.parametrize("threads", [1, 2])
def test_tasks_that_misbehave_hurt_nobody(start_worker: Start, threads: int) -> None:
    hostile = {enqueue(task).pk: words for task, words in HOSTILE}
    odd = [enqueue(task).pk for task in ODD]
    broken = enqueue(tasks.noop)
    Job.objects.filter(pk=broken.pk).update(task="tests.broken_module.task")
    innocent = [
        *enqueue_many(tasks.asks_the_database, [()] * 20),
        *enqueue_many(tasks.async_nap, [(0.01,)] * 20),
    ]
    worker = start_worker("--processes", "1", "--threads", str(threads))
    runners = worker.until_ready().runners()
    eventually(lambda: unfinished() == 0, within=40)
    innocent += enqueue_many(tasks.asks_the_database, [()] * 20)
    eventually(lambda: unfinished() == 0, within=20)

    jobs = {job.pk: job for job in Job.objects.all()}
    for pk in [*odd, *innocent]:
        assert (jobs[pk].state, jobs[pk].losses) == ("succeeded", 0), jobs[pk].errors[0].traceback
    for pk, words in hostile.items():
        assert jobs[pk].state == "failed"
        assert words in jobs[pk].errors[0].message
    assert jobs[broken.pk].state == "failed"
    assert "SystemExit" in jobs[broken.pk].errors[0].exception_class_path
    assert "starting another" not in worker.output
    # One life of the one runner, from the first job to the last.
    assert worker.runners() == runners
    eventually(lambda: not Claim.objects.exists())
    assert worker.stop() == 0


def test_what_a_task_changes_around_it_is_as_before_for_the_next(start_worker: Start) -> None:
    start_worker("--processes", "1", JOBS_TEST_AGE="60").until_ready()
    before = enqueue(tasks.tells_its_surroundings).wait(timeout=15)

    enqueue(tasks.changes_its_session).wait(timeout=15)
    enqueue(tasks.changes_its_folder).wait(timeout=15)

    assert enqueue(tasks.tells_its_surroundings).wait(timeout=15) == before


def test_a_loop_that_hangs_is_told_with_the_place_in_the_code(start_worker: Start) -> None:
    worker = start_worker("--processes", "1").until_ready()
    enqueue(tasks.blocks_the_loop, 8)

    eventually(lambda: "event loop has not answered" in worker.output)
    assert "in blocks_the_loop" in worker.output


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="a container of one's own needs root and util-linux's unshare",
)
def test_as_process_1_a_worker_buries_what_tasks_left_behind(start_worker: Start) -> None:
    connection.ensure_connection()
    where = connection.connection.info
    url = f"postgres://{where.user}:{where.password}@/{where.dbname}?host={where.host}"
    # Who looks for the private server's process from in there finds none.
    worker = start_worker(
        before=["unshare", "--pid", "--fork", "--mount-proc"],
        DATABASE_URL=os.environ.get("DATABASE_URL", url),
    )
    enqueue_many(tasks.leaves_a_process_behind, [()] * 5)
    eventually(lambda: unfinished() == 0)
    # The worker itself is the one child of unshare.
    [supervisor] = worker.runners()

    def zombies() -> list[str]:
        listed = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2] for pid in listed]
        return [state for state in states if state.split()[0] == "Z"]

    time.sleep(0.5)
    eventually(lambda: not zombies())
    os.kill(supervisor, signal.SIGTERM)
    assert worker.wait() == 0


def test_a_process_that_ends_politely_in_a_task_is_a_loss_all_the_same(
    start_worker: Start,
) -> None:
    rude = tasks.ends_its_process_politely.using(priority=100).enqueue()
    once = enqueue_many(tasks.at_most_once, [()] * 40)

    worker = start_worker("--burst", "--processes", "1")

    eventually(lambda: unfinished() == 0, within=30)
    assert worker.wait() == 0
    rude.refresh()
    assert (rude.state, rude.losses) == ("failed", 4)
    assert "ended with exit code 0" in rude.errors[0].message
    innocent = Job.objects.filter(pk__in=once)
    assert {(job.state, job.losses) for job in innocent} == {("succeeded", 0)}


def test_outcomes_survive_connections_that_are_cut_again_and_again(start_worker: Start) -> None:
    made = enqueue_many(tasks.nap, [(0.02,)] * 150)
    start_worker("--processes", "1", "--threads", "2").until_ready()

    def cut() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name LIKE 'jobs runner%%' AND datname = current_database()"
            )
        time.sleep(0.15)
        return unfinished() == 0

    eventually(cut, within=40)
    jobs = Job.objects.filter(pk__in=made)
    assert {(job.state, job.losses) for job in jobs} == {("succeeded", 0)}
    eventually(lambda: not Claim.objects.exists())


def test_outcomes_wait_for_a_table_that_is_locked(start_worker: Start) -> None:
    start_worker("--processes", "1").until_ready()
    job = enqueue(tasks.nap, 1)
    eventually(lambda: Job.objects.get(pk=job.pk).state == "running")

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE jobs_job IN SHARE MODE")
        # Longer than the worker's own lock_timeout.
        cursor.execute("SELECT pg_sleep(3.5)")

    eventually(lambda: Job.objects.get(pk=job.pk).is_finished)
    job.refresh()
    assert (job.state, job.losses, job.attempt) == ("succeeded", 0, 1)


def test_an_atomic_task_waits_for_its_row(start_worker: Start) -> None:
    start_worker("--processes", "1").until_ready()
    job = enqueue(tasks.atomic_nap, 0.3, "ada")
    eventually(lambda: Job.objects.get(pk=job.pk).state == "running")

    with transaction.atomic(), connection.cursor() as cursor:
        Job.objects.select_for_update().get(pk=job.pk)
        cursor.execute("SELECT pg_sleep(1)")

    assert isinstance(job.wait(timeout=10), int)
    job.refresh()
    assert (job.state, job.attempt) == ("succeeded", 1)


def test_an_atomic_task_that_forks_commits_its_work_with_its_finish(start_worker: Start) -> None:
    from django.contrib.auth.models import User

    job = enqueue(tasks.atomic_and_forks, "ada")
    start_worker("--processes", "1")

    assert job.wait(timeout=15) == User.objects.get(username="ada").pk


def test_a_blocked_loop_gives_back_what_it_has_not_begun(start_worker: Start) -> None:
    enqueue(tasks.blocks_the_loop, 8)
    first = start_worker("--processes", "1").until_ready()
    eventually(lambda: Job.objects.filter(state="running").exists())
    made = enqueue_many(tasks.on_the_loop, [()] * 50)
    # The first worker has them, in a line that does not move; or has given them back already.
    eventually(lambda: Job.objects.filter(pk__in=made, attempt__gt=0).exists())
    start_worker("--processes", "1")

    eventually(lambda: Job.objects.filter(state="succeeded").count() == 50, within=6)
    assert first.process.poll() is None


def test_an_outcome_does_not_wait_for_a_thread_that_another_job_holds(start_worker: Start) -> None:
    start_worker("--processes", "1").until_ready()
    held = enqueue(tasks.waits_in_an_orm_thread, 6)
    eventually(lambda: Job.objects.get(pk=held.pk).state == "running")

    enqueue_many(tasks.on_the_loop, [()] * 40)

    eventually(lambda: Job.objects.filter(state="succeeded").count() == 40, within=4)


def test_async_jobs_of_a_queue_of_their_own_do_not_wait_for_a_long_function(
    start_worker: Start,
) -> None:
    long = enqueue(tasks.nap, 6)
    start_worker("--processes", "1").until_ready()
    eventually(lambda: Job.objects.get(pk=long.pk).state == "running")

    enqueue(tasks.on_the_loop).wait(timeout=3)

    long.refresh()
    assert long.state == "running"
