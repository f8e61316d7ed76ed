"""What stands around a worker: signals, terminals, settings, schemas, what tasks leave behind."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from jobs import Job, enqueue, enqueue_many
from jobs.models import Claim, Worker
from tests import tasks
from tests.eventually import eventually
from tests.own_server import cpu_seconds
from tests.workers import ROOT, WorkerProcess

pytestmark = pytest.mark.slow
Start = Callable[..., WorkerProcess]


# What a task leaves behind.


@pytest.mark.parametrize(
    "leaves", [tasks.blocks_the_interrupt, tasks.ignores_the_interrupt, tasks.takes_all_signals]
)
def test_what_a_task_does_to_signals_ends_with_it(start_worker: Start, leaves: Any) -> None:
    worker = start_worker("--processes", "1").until_ready()
    runners = worker.runners()
    enqueue(leaves).wait(timeout=20)
    late = enqueue(tasks.naps_under_a_limit)
    eventually(lambda: Job.objects.get(pk=late.pk).is_finished)

    late.refresh()
    # Its own time limit has ended it, and no loss.
    assert (late.state, late.reason, late.losses) == ("failed", "timeout", 0)
    assert worker.runners() == runners
    assert worker.stop() == 0


def test_a_deleted_working_folder_fails_no_job(transactional_db: None) -> None:
    folder = Path(tempfile.mkdtemp())
    with tempfile.TemporaryFile("w+") as output:
        worker = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "runworker", "--processes", "1"],
            env=WorkerProcess.environment(),
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            eventually(lambda: Worker.objects.exclude(runners=[]).exists())
            shutil.rmtree(folder)
            made = enqueue_many(tasks.noop, [()] * 5)
            eventually(lambda: not Job.objects.filter(pk__in=made, finished_at=None).exists())
            assert set(Job.objects.values_list("state", flat=True)) == {"succeeded"}
            before, size = cpu_seconds(worker.pid), output.tell()
            time.sleep(2)
            # A runner that spins takes two seconds of two.
            assert cpu_seconds(worker.pid) - before < 0.8
            assert output.tell() - size < 10_000
        finally:
            worker.terminate()
            worker.wait(20)


def test_what_a_task_prints_is_seen_when_it_prints(start_worker: Start) -> None:
    worker = start_worker("--processes", "1").until_ready()
    enqueue(tasks.prints, "here I am").wait(timeout=20)

    eventually(lambda: "here I am" in worker.output)


# Signals.


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_worker_stops_gently(start_worker: Start, number: int) -> None:
    worker = start_worker("--processes", "1").until_ready()
    job = enqueue(tasks.nap, 1.0)
    eventually(lambda: Job.objects.filter(pk=job.pk, state="running").exists())
    # A terminal that is closed sends it to every process.
    os.killpg(worker.pid, number)

    assert worker.wait() == 0
    job.refresh()
    assert job.state == "succeeded"
    assert "stopping: running jobs" in worker.output


def test_quit_stops_at_once_and_gives_back(start_worker: Start) -> None:
    worker = start_worker("--processes", "1").until_ready()
    job = enqueue(tasks.nap, 30)
    eventually(lambda: Job.objects.filter(pk=job.pk, state="running").exists())
    os.killpg(worker.pid, signal.SIGQUIT)

    assert worker.wait() == 1
    job.refresh()
    assert (job.state, job.losses) == ("queued", 0)
    assert not Claim.objects.exists()


def test_usr1_shows_where_the_runners_are_and_usr2_does_nothing(
    start_worker: Start, tmp_path: Path
) -> None:
    worker = start_worker("--processes", "1").until_ready()
    enqueue(tasks.says_that_it_started, str(tmp_path / "started"), 10)
    eventually((tmp_path / "started").exists)
    for number in (signal.SIGUSR2, signal.SIGUSR1):
        os.killpg(worker.pid, number)

    eventually(lambda: "in says_that_it_started" in worker.output)
    eventually(lambda: Job.objects.filter(state="succeeded").exists(), within=60)
    assert worker.stop() == 0


def test_a_task_can_see_that_its_worker_stops(start_worker: Start) -> None:
    worker = start_worker("--processes", "1").until_ready()
    job = enqueue(tasks.waits_for_the_stop)
    eventually(lambda: Job.objects.filter(pk=job.pk, state="running").exists())
    assert worker.stop() == 0

    job.refresh()
    assert (job.state, job.result) == ("succeeded", "saw it")


def test_the_site_hears_of_each_runner_that_starts_and_stops(start_worker: Start) -> None:
    worker = start_worker("--processes", "2", JOBS_TEST_HEAR_RUNNERS="1").until_ready()
    eventually(lambda: worker.output.count("heard: started") == 2)
    assert worker.stop() == 0
    assert worker.output.count("heard: stopping") == 2


def test_processes_have_titles(start_worker: Start) -> None:
    worker = start_worker("--processes", "2", "--beat", "--name", "web").until_ready()
    eventually(lambda: len(worker.runners()) == 3)

    def names() -> list[str]:
        pids = [worker.pid, *worker.runners()]
        return sorted(Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids)

    eventually(lambda: names() == ["jobs beat", "jobs runner/1", "jobs runner/2", "jobs worker"])


# Terminals.


@pytest.mark.parametrize("kind", ["closed pipe", "full disk", "ascii"])
def test_a_line_for_a_human_ends_no_worker(transactional_db: None, kind: str) -> None:
    if kind == "full disk" and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    reader, writer = os.pipe()
    output = os.open("/dev/full", os.O_WRONLY) if kind == "full disk" else writer
    worker = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "runworker", "--processes", "1"],
        env=WorkerProcess.environment(PYTHONIOENCODING="ascii" if kind == "ascii" else "utf-8"),
        stdout=output,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    if kind == "closed pipe":
        os.close(reader)
    try:
        assert enqueue(tasks.add, 1).wait(timeout=20) == 2
        worker.terminate()
        assert worker.wait(20) == 0
    finally:
        worker.kill()
        worker.wait()


def test_a_command_whose_reader_has_gone_ends_without_a_traceback(transactional_db: None) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "jobs", "schedules"],
        env=WorkerProcess.environment(), stdout=writer, stderr=subprocess.PIPE, text=True,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 141
    assert ended.stderr == ""


# Schemas and settings.


def test_a_worker_refuses_tables_that_are_older_than_its_code(
    start_worker: Start, transactional_db: None
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jobs_worker RENAME claim_time TO not_there_yet")
    try:
        for command in ("runworker", "runbeat"):
            worker = start_worker(command=command)
            assert worker.wait() == 1
            assert "older than this code (jobs_worker has no column claim_time)" in worker.output
            assert "run manage.py migrate before its workers start" in worker.output
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE jobs_worker RENAME not_there_yet TO claim_time")


FROM_MODELS = """
import django
django.setup()
from django.db import connection
from jobs.models import Schedule
from jobs.testing import run_beat, travel
from datetime import timedelta

connection.settings_dict["TEST"].update(MIGRATE=False, NAME="jobs_from_models")
connection.creation.create_test_db(verbosity=0, autoclobber=True)
try:
    with travel(timedelta(days=1)):
        print([job.task for job in run_beat()])
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'jobs_job'")
        print(cursor.fetchone()[0])
finally:
    connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)
"""


def test_tables_that_are_made_from_the_models_alone_have_what_migrations_make() -> None:
    schedules = {"daily": {"task": "tests.tasks.noop", "schedule": "0 3 * * *"}}
    ended = subprocess.run(
        [sys.executable, "-c", FROM_MODELS],
        env=WorkerProcess.environment(JOBS_TEST_JOBS=repr({"SCHEDULES": schedules})),
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    fired, storage = ended.stdout.splitlines()
    assert fired == "['tests.tasks.noop']"
    assert "fillfactor=50" in storage


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ('{"RETENTON": 3}', "JOBS has no setting 'RETENTON'."),
        ("None", "The setting JOBS is not a dict."),
        ('{"DATABASE": 5}', "JOBS['DATABASE'] is 5."),
        ('{"THREADS": 0}', "JOBS['THREADS'] is 0."),
    ],
)
@pytest.mark.parametrize("command", ["check", "runworker", "runbeat", "migrate", "jobs schedules"])
def test_a_mistake_in_the_settings_is_a_check_and_never_a_traceback(
    setting: str, words: str, command: str
) -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *command.split()],
        env=WorkerProcess.environment(JOBS_TEST_JOBS=setting),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert f"(jobs.E001) {words}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_row_may_name_nothing_of_jobs_itself_but_tasks(start_worker: Start) -> None:
    names = ["jobs.worker.reload.begin_anew", "jobs.lifecycle.pause.pause", "jobs.conf.database"]
    for name in names:
        Job.objects.bulk_create([Job(task=name)])
    worker = start_worker("--processes", "1", "--burst")

    assert worker.wait() == 0
    jobs = Job.objects.all()
    assert {job.state for job in jobs} == {"failed"}
    for job in jobs:
        assert "is a function of jobs itself, and no task" in job.last_problem.message


# Waking.


def test_what_is_due_again_wakes_a_sleeping_worker(start_worker: Start) -> None:
    worker = start_worker("--processes", "1", JOBS_TEST_POLL_INTERVAL="60").until_ready()

    def asleep() -> Any:
        return Worker.objects.exclude(idle=[]).exists()

    def runs(pk: Any, verb: Callable[[], object]) -> None:
        eventually(asleep)
        # Until its pauses between looks are long.
        time.sleep(random.uniform(2.5, 3.0))
        began = time.monotonic()
        verb()
        eventually(lambda: Job.objects.get(pk=pk).state == "succeeded")
        assert time.monotonic() - began < 5

    from jobs import lifecycle

    failed = enqueue(tasks.fails_at_first)
    eventually(lambda: Job.objects.get(pk=failed.pk).state == "failed")
    runs(failed.pk, failed.retry)
    lifecycle.pause("mail")
    paused = tasks.noop.using(queue_name="mail").enqueue()
    runs(paused.pk, lambda: lifecycle.resume("mail"))
    lifecycle.pause_task(tasks.noop.name)
    put_off = enqueue(tasks.noop)
    eventually(lambda: Job.objects.scheduled().exists())
    runs(put_off.pk, lambda: lifecycle.resume_task(tasks.noop.name))
    assert worker.stop() == 0
