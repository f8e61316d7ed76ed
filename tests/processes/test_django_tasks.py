"""What django-tasks-db promises of its worker, in its tests of processes, with Django's own API.

Where we do otherwise it is to lose nothing: a second signal, and a killed worker, fail no job.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from jobs import Job
from tests import django_tasks as tasks
from tests.eventually import eventually
from tests.workers import WorkerProcess

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
Start = Callable[..., WorkerProcess]


def status_of(result: Any) -> str:
    result.refresh()
    return str(result.status.name)


@pytest.fixture
def names(tmp_path: Path) -> Callable[[], list[str]]:
    log = tmp_path / "names"
    return lambda: log.read_text().split() if log.exists() else []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_task_that_runs_finishes_once_its_worker_is_told_to_stop(
    start_worker: Start, tmp_path: Path, names: Callable[[], list[str]], number: int
) -> None:
    result = tasks.writes_its_name.enqueue(str(tmp_path / "names"), "it", 0.5)
    worker = start_worker("--processes", "1")
    eventually(names)

    worker.signal(number)
    assert worker.wait() == 0
    assert (status_of(result), result.return_value) == ("SUCCESSFUL", "it")


def test_told_twice_it_stops_at_once_and_the_task_runs_again(
    start_worker: Start, tmp_path: Path, names: Callable[[], list[str]]
) -> None:
    result = tasks.writes_its_name.enqueue(str(tmp_path / "names"), "it", 0.5)
    worker = start_worker("--processes", "1")
    eventually(names)

    worker.signal(signal.SIGINT)
    eventually(lambda: "stopping" in worker.output.lower())
    worker.signal(signal.SIGINT)
    assert worker.wait() == 1
    assert status_of(result) == "READY"
    start_worker("--processes", "1", "--burst").wait()
    assert status_of(result) == "SUCCESSFUL"
    assert result.errors == []


def test_an_idle_worker_stops_within_moments(start_worker: Start) -> None:
    worker = start_worker("--processes", "1").until_ready()
    began_at = time.monotonic()

    assert worker.stop() == 0
    # Theirs has half a second, on a machine that does nothing else.
    assert time.monotonic() - began_at < 5


def test_exits_and_interrupts_of_a_task_fail_it_and_not_its_worker(start_worker: Start) -> None:
    exits, interrupted = tasks.exits.enqueue(), tasks.is_interrupted.enqueue()
    good = tasks.add.enqueue(1)
    worker = start_worker("--processes", "1", "--burst")

    assert worker.wait() == 0
    assert [status_of(one) for one in (exits, interrupted, good)] == [
        "FAILED",
        "FAILED",
        "SUCCESSFUL",
    ]
    assert exits.errors[0].exception_class is SystemExit
    assert interrupted.errors[0].exception_class is KeyboardInterrupt


def test_a_worker_that_is_killed_leaves_nothing_running(
    start_worker: Start, tmp_path: Path, names: Callable[[], list[str]]
) -> None:
    result = tasks.writes_its_name.enqueue(str(tmp_path / "names"), "it", 1)
    first = start_worker("--processes", "1", JOBS_TEST_HEARTBEAT="0.3")
    eventually(names)
    for pid in [*first.runners(), first.pid]:
        os.kill(pid, signal.SIGKILL)

    start_worker("--processes", "1", JOBS_TEST_HEARTBEAT="0.3")
    eventually(lambda: status_of(result) == "SUCCESSFUL")
    assert names() == ["it", "it"]
    assert len(result.worker_ids) == 2


def test_three_workers_run_ten_tasks_each_once(
    start_worker: Start, tmp_path: Path, names: Callable[[], list[str]]
) -> None:
    log = str(tmp_path / "names")
    for _ in range(3):
        start_worker("--processes", "1")
    results = [tasks.writes_its_name.enqueue(log, f"{i}", 0.01) for i in range(30)]

    eventually(lambda: not Job.objects.exclude(state="succeeded").exists())
    assert Counter(names()) == Counter(str(i) for i in range(30))
    assert {status_of(one) for one in results} == {"SUCCESSFUL"}


def test_priority_comes_first_and_then_the_longest_due(
    start_worker: Start, tmp_path: Path, names: Callable[[], list[str]]
) -> None:
    log, now = str(tmp_path / "names"), timezone.now()
    tasks.writes_its_name.enqueue(log, "second")
    tasks.writes_its_name.enqueue(log, "third")
    tasks.writes_its_name.using(run_after=now + timedelta(seconds=0.3)).enqueue(log, "fourth")
    tasks.writes_its_name.using(priority=5).enqueue(log, "first")
    tasks.writes_its_name.using(priority=-5).enqueue(log, "fifth")
    tasks.writes_its_name.using(run_after=now + timedelta(days=1)).enqueue(log, "tomorrow")
    eventually(lambda: Job.objects.ready().count() == 5)
    start_worker("--processes", "1", "--burst").wait()

    assert names() == ["first", "second", "third", "fourth", "fifth"]
