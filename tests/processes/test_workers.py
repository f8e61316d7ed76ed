"""Real workers, killed, stopped, frozen and cut off in the middle."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from django.db import connection, transaction

from jobs import conf, enqueue, enqueue_many
from jobs.errors import JobFailed
from jobs.models import Claim, Job, Worker
from tests import tasks
from tests.eventually import eventually
from tests.workers import WorkerProcess

Start = Callable[..., WorkerProcess]


def finished() -> int:
    return Job.objects.filter(state="succeeded").count()


def test_a_burst_runs_what_is_ready_and_ends(start_worker: Start) -> None:
    enqueue_many(tasks.add, [(i,) for i in range(50)])
    asynchronous = enqueue(tasks.async_nap, 0.01)

    worker = start_worker("--burst")

    assert worker.wait() == 0
    assert finished() == 51
    asynchronous.refresh()
    assert asynchronous.return_value == 0.01
    assert not Claim.objects.exists()
    assert not Worker.objects.exists()
    assert "51 succeeded" in worker.output


@pytest.mark.django_db(transaction=True)
def test_a_burst_within_a_test_as_the_docs_have_it_leaves_nothing_behind() -> None:
    from django.core.management import call_command

    def open_files() -> int:
        connection.close()
        return len(list(Path("/proc/self/fd").iterdir()))

    call_command("runworker", burst=True, processes=1, verbosity=0)
    before = open_files()

    for number in range(3):
        job = enqueue(tasks.add, number, b=2)
        call_command("runworker", burst=True, processes=1, verbosity=0)
        assert job.wait(timeout=5) == number + 2

    assert open_files() == before
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_wait_returns_what_the_worker_returned(start_worker: Start) -> None:
    start_worker().until_ready()

    assert enqueue(tasks.add, 20, b=22).wait(timeout=15) == 42
    with pytest.raises(JobFailed, match=r"builtins\.ValueError: told"):
        enqueue(tasks.boom, "told").wait(timeout=15)


@pytest.mark.parametrize("victim", ["nobody", "runner", "worker"])
def test_ten_thousand_jobs_run_once_each_though_processes_are_killed(
    start_worker: Start, tmp_path: Path, victim: str
) -> None:
    """Killed half way: what had started runs again, and everything else exactly once."""
    log = tmp_path / "log"
    made = enqueue_many(tasks.writes_a_line, [(str(log), str(i)) for i in range(10_000)])
    settings = {"JOBS_TEST_HEARTBEAT": "1"}
    doomed = start_worker("--processes", "1", **settings).until_ready()
    other = start_worker("--processes", "1", **settings).until_ready()
    eventually(lambda: finished() > 2000)

    assert finished() < 10_000
    if victim == "runner":
        for worker in (doomed, other):
            os.kill(worker.runners()[0], signal.SIGKILL)
    elif victim == "worker":
        os.kill(doomed.pid, signal.SIGKILL)

    eventually(lambda: finished() == 10_000, within=60)
    lines = Counter(log.read_text().split())
    jobs = {job.args[1]: job for job in Job.objects.all()}
    assert len(lines) == len(made) == 10_000
    # Once; and once more only for each time that its process died while it ran.
    assert [i for i, count in lines.items() if count > jobs[i].losses + 1] == []
    if victim == "nobody":
        assert set(lines.values()) == {1}
    eventually(lambda: not Claim.objects.exists())


def test_a_killed_runners_job_starts_again_at_once(start_worker: Start, tmp_path: Path) -> None:
    worker = start_worker("--processes", "1").until_ready()
    job = enqueue(tasks.says_that_it_started, str(tmp_path / "started"), 2)
    eventually((tmp_path / "started").exists)

    os.kill(worker.runners()[0], signal.SIGKILL)
    killed_at = time.monotonic()

    eventually(lambda: Job.objects.get(pk=job.pk).attempt == 2, within=30)
    assert time.monotonic() - killed_at < conf.settings().heartbeat_timeout.total_seconds() / 3
    job.wait(timeout=20)
    job.refresh()
    assert (job.state, job.losses, job.failures) == ("succeeded", 1, 0)
    (loss,) = job.errors
    assert "was killed by SIGKILL" in loss.message


def test_a_job_that_kills_its_process_fails_after_its_losses_and_hurts_no_other(
    start_worker: Start,
) -> None:
    poison, once = enqueue(tasks.dies), enqueue(tasks.dies_at_most_once)
    innocent = enqueue_many(tasks.noop, [()] * 200)
    start_worker("--processes", "2")

    eventually(
        lambda: not Job.objects.exclude(state__in=["failed", "succeeded"]).exists(), within=40
    )
    poison.refresh()
    once.refresh()
    assert (poison.state, poison.reason, poison.losses) == ("failed", "lost", 4)
    assert (once.state, once.losses, once.attempt) == ("failed", 1, 1)
    assert Job.objects.filter(pk__in=innocent, state="succeeded").count() == 200
    with pytest.raises(JobFailed, match="ended with exit code 9"):
        poison.wait()


def test_how_a_process_died_stands_on_its_job(start_worker: Start) -> None:
    crashed, aborted = enqueue(tasks.crashes), enqueue(tasks.aborts)
    start_worker("--processes", "2")

    eventually(lambda: Job.objects.failed().count() == 2, within=20)
    assert "was killed by SIGSEGV" in crashed.errors[0].message
    assert "was killed by SIGABRT" in aborted.errors[0].message
    assert {job.attempt for job in Job.objects.all()} == {1}


def test_term_lets_running_jobs_finish_and_gives_back_the_rest(
    start_worker: Start, tmp_path: Path
) -> None:
    worker = start_worker("--processes", "1").until_ready()
    started = tmp_path / "started"
    first = enqueue(tasks.says_that_it_started, str(started), 5)
    eventually(started.exists)
    enqueue_many(tasks.nap, [(5,)] * 3)
    runners = worker.runners()

    code = worker.stop()

    assert code == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in runners)
    first.refresh()
    assert first.state == "succeeded"
    assert Job.objects.filter(state="queued", losses=0, failures=0).count() == 3
    assert not Claim.objects.exists()
    assert not Worker.objects.exists()


@pytest.mark.parametrize("how", ["grace", "twice"])
def test_at_the_end_of_the_grace_running_jobs_are_given_back_uncounted(
    start_worker: Start, how: str
) -> None:
    grace = "0.5" if how == "grace" else "60"
    worker = start_worker("--processes", "1", "--grace-period", grace).until_ready()
    job = enqueue(tasks.nap, 60)
    eventually(lambda: Job.objects.get(pk=job.pk).state == "running")

    worker.signal(signal.SIGINT)
    if how == "twice":
        eventually(lambda: "stopping" in worker.output)
        worker.signal(signal.SIGINT)

    assert worker.wait() == 1
    job.refresh()
    assert (job.state, job.losses, job.failures) == ("queued", 0, 0)
    assert not Claim.objects.exists()


def test_runners_do_not_outlive_their_supervisor(start_worker: Start) -> None:
    worker = start_worker("--processes", "2").until_ready()
    runners = worker.runners()
    assert len(runners) == 2

    os.kill(worker.pid, signal.SIGKILL)

    def gone() -> bool:
        return not any(Path(f"/proc/{pid}").exists() for pid in runners)

    eventually(gone)


def test_a_dead_workers_jobs_are_rescued_by_another(start_worker: Start, tmp_path: Path) -> None:
    settings = {"JOBS_TEST_HEARTBEAT": "0.5"}
    dead = start_worker("--processes", "1", **settings).until_ready()
    job = enqueue(tasks.writes_a_line, str(tmp_path / "log"), "x", 60)
    eventually(lambda: Job.objects.get(pk=job.pk).state == "running")
    Job.objects.update(arguments={"args": [str(tmp_path / "log"), "x", 0], "kwargs": {}})
    runners = dead.runners()
    for pid in (dead.pid, *runners):
        os.kill(pid, signal.SIGKILL)
    start_worker("--processes", "1", **settings)

    assert job.wait(timeout=30) is None
    job.refresh()
    assert (job.losses, job.attempt) == (1, 2)
    assert Worker.objects.count() == 1


def test_a_frozen_worker_is_rescued_and_cannot_write_when_it_wakes(
    start_worker: Start, tmp_path: Path
) -> None:
    settings = {"JOBS_TEST_HEARTBEAT": "0.5"}
    frozen = start_worker("--processes", "1", **settings).until_ready()
    job = enqueue(tasks.nap, 1)
    eventually(lambda: Job.objects.get(pk=job.pk).state == "running")
    processes = (frozen.pid, *frozen.runners())
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    start_worker("--processes", "1", **settings)
    job.wait(timeout=30)
    job.refresh()
    finished_at = job.finished_at

    for pid in processes:
        # As soon as the supervisor wakes, it kills its runners.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    eventually(lambda: Worker.objects.count() == 2)
    eventually(lambda: enqueue(tasks.add, 1).wait(timeout=10) == 2)
    job.refresh()
    assert (job.state, job.attempt, job.finished_at) == ("succeeded", 2, finished_at)
    assert "begins anew" in frozen.output


def test_every_process_survives_the_loss_of_its_connections(start_worker: Start) -> None:
    worker = start_worker("--processes", "2").until_ready()
    job = enqueue(tasks.nap, 1)
    eventually(lambda: Job.objects.get(pk=job.pk).state == "running")

    def sessions() -> set[int]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity "
                "WHERE application_name LIKE 'jobs %%' AND datname = current_database()"
            )
            return {pid for (pid,) in cursor.fetchall()}

    before = sessions()
    assert len(before) >= 4
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [list(before)])

    eventually(lambda: len(sessions() - before) >= len(before))
    assert job.wait(timeout=20) == 1
    assert enqueue(tasks.add, 1).wait(timeout=20) == 2
    job.refresh()
    assert (job.attempt, job.losses) == (1, 0)
    assert worker.process.poll() is None
    assert worker.stop() == 0


def test_a_sleeping_worker_is_woken_and_does_not_wait_for_its_next_look(
    start_worker: Start,
) -> None:
    start_worker("--processes", "1", JOBS_TEST_POLL_INTERVAL="3600").until_ready()

    def asleep() -> bool:
        # So long that the pauses, which double from 5 ms on, are of 5 s: the next look is at
        # least 2 s away.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT bool_and(clock_timestamp() - state_change > '3 s') FROM pg_stat_activity "
                "WHERE application_name LIKE 'jobs runner%%' AND datname = current_database()"
            )
            return bool(Worker.objects.get().idle) and cursor.fetchone()[0]

    eventually(asleep, within=30)

    enqueue(tasks.noop).wait(timeout=1.5)


def test_time_limits_end_plain_and_async_tasks(start_worker: Start) -> None:
    plain, asynchronous = enqueue(tasks.too_slow), enqueue(tasks.too_slow_async)
    start_worker("--processes", "1")

    for job in (plain, asynchronous):
        with pytest.raises(JobFailed, match=r"JobTimeout.*longer than its time limit of 0.2 s"):
            job.wait(timeout=20)
        assert job.reason == "timeout"


def test_threads_and_coroutines_run_side_by_side(start_worker: Start) -> None:
    start_worker("--processes", "1", "--threads", "10").until_ready()
    started = time.monotonic()
    enqueue_many(tasks.nap, [(0.5,)] * 10)
    enqueue_many(tasks.async_nap, [(0.5,)] * 50)

    eventually(lambda: finished() == 60)

    # One after the other they would take half a minute.
    assert time.monotonic() - started < 10


def test_a_worker_on_a_missing_database_says_so(start_worker: Start) -> None:
    worker = start_worker(JOBS_TEST_DATABASE="no_such_database")

    assert worker.wait() == 1
    assert "cannot be used" in worker.output
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("how", ["holds the interpreter", "is stopped"])
def test_what_stands_behind_a_runner_that_cannot_move_is_run_by_others_once(
    start_worker: Start, tmp_path: Path, how: str
) -> None:
    log = tmp_path / "log"
    # So that it knows its jobs for short, and takes many at a time.
    enqueue_many(tasks.noop, [()] * 2000)
    # Shorter than what the runner holds or sleeps: its worker must not be taken for dead.
    settings = {"JOBS_TEST_HEARTBEAT": "0.5"}
    stuck = start_worker("--processes", "1", **settings).until_ready()
    eventually(lambda: finished() == 2000)
    with transaction.atomic():
        if how == "is stopped":
            long = enqueue(tasks.nap, 3)
        else:
            long = enqueue(tasks.holds_the_interpreter, 15)
        enqueue_many(tasks.writes_a_line, [(str(log), str(i)) for i in range(100)])
    eventually(lambda: Job.objects.running().count() > 1)
    (runner,) = stuck.runners()
    if how == "is stopped":
        os.kill(runner, signal.SIGSTOP)

    start_worker("--processes", "1", JOBS_TEST_POLL_INTERVAL="0.1", **settings).until_ready()

    eventually(lambda: finished() == 2100, within=10)
    long.refresh()
    assert long.state == "running"
    if how == "is stopped":
        os.kill(runner, signal.SIGCONT)
    eventually(lambda: finished() == 2101, within=30)
    eventually(lambda: not Claim.objects.exists())
    assert sorted(log.read_text().split(), key=int) == [str(i) for i in range(100)]
    long.refresh()
    assert (long.attempt, long.losses) == (1, 0)
    assert stuck.runners() == [runner]


def test_runners_share_no_session_of_djangos_own_pool(start_worker: Start) -> None:
    made = enqueue_many(tasks.asks_for, [(i,) for i in range(300)])

    worker = start_worker("--burst", "--processes", "3", JOBS_TEST_POOL="1")

    assert worker.wait(40) == 0
    assert [Job.objects.get(pk=pk).result for pk in made] == list(range(300))


def test_a_free_slot_starts_a_new_job_at_once_beside_a_long_one(start_worker: Start) -> None:
    start_worker("--processes", "1", "--threads", "4").until_ready()
    long = enqueue(tasks.nap, 20)
    eventually(lambda: Job.objects.get(pk=long.pk).state == "running")

    waits = []
    for _ in range(5):
        job = enqueue(tasks.noop)
        eventually(lambda job=job: Job.objects.get(pk=job.pk).is_finished)
        job.refresh()
        waits.append((job.last_attempted_at - job.enqueued_at).total_seconds())

    # It slept for a second where nobody rang it.
    assert sorted(waits)[2] < 0.5
