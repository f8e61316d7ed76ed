"""Schedules: kept in step with their declarations, each tick once, a bad one alone."""

import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test import override_settings

from jobs import Job, beat, cron
from jobs.models import Schedule
from tests.eventually import eventually
from tests.workers import WorkerProcess

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def declare() -> Iterator[Callable[..., None]]:
    """Declare schedules of tests.tasks.add in JOBS, and synchronise."""
    overrides = []

    def declare(**schedules: Any) -> None:
        said = {
            name: {"task": "tests.tasks.add", "schedule": rule, "args": [1]}
            for name, rule in schedules.items()
        }
        overrides.append(override_settings(JOBS={"SCHEDULES": said}))
        overrides[-1].enable()
        beat.synchronise()

    yield declare
    for override in reversed(overrides):
        override.disable()


def make_due(name: str, *, ago: timedelta = timedelta(seconds=1)) -> datetime:
    """Let a tick of the schedule be due since `ago`; returns the tick."""
    Schedule.objects.filter(name=name).update(next_run_at=Now() - ago, created_at=Now() - 2 * ago)
    due = Schedule.objects.get(name=name).next_run_at
    assert due is not None
    return due


def test_what_is_declared_becomes_a_row_with_its_next_tick(declare: Callable[..., None]) -> None:
    declare(nightly="0 3 * * *", often=timedelta(seconds=90))

    nightly, often = Schedule.objects.get(name="nightly"), Schedule.objects.get(name="often")
    assert (nightly.kind, nightly.line, nightly.source) == ("cron", "0 3 * * *", "settings")
    assert nightly.next_run_at is not None
    assert (nightly.next_run_at.hour, nightly.next_run_at.minute) == (3, 0)
    assert (often.kind, often.interval) == ("interval", timedelta(seconds=90))


def test_a_tick_is_enqueued_once_with_its_arguments(declare: Callable[..., None]) -> None:
    declare(nightly="* * * * *")
    due = make_due("nightly")

    beat.step()
    beat.step()

    job = Job.objects.get()
    row = Schedule.objects.get()
    assert (job.task, job.args, job.tick, job.schedule_id) == ("tests.tasks.add", [1], due, row.pk)
    assert (row.last_tick, row.last_job_id, row.problem) == (due, job.pk, "")
    assert row.next_run_at is not None
    assert row.next_run_at > due


def test_after_a_rest_one_job_stands_for_all_missed_ticks(declare: Callable[..., None]) -> None:
    declare(often=timedelta(seconds=10))
    make_due("often", ago=timedelta(hours=3))

    beat.step()

    job = Job.objects.get()
    assert job.tick is not None
    assert datetime.now(UTC) - job.tick < timedelta(seconds=15)


def test_a_clock_that_is_set_back_fires_nothing_twice(declare: Callable[..., None]) -> None:
    declare(often=timedelta(hours=1))
    make_due("often")
    beat.step()
    last = Schedule.objects.get().last_tick

    Schedule.objects.update(next_run_at=last)
    beat.step()

    assert Job.objects.count() == 1
    assert Schedule.objects.get().next_run_at is not None


def test_two_beats_never_share_a_tick(declare: Callable[..., None]) -> None:
    declare(**{f"s{i}": timedelta(hours=1) for i in range(30)})
    for i in range(30):
        make_due(f"s{i}")

    def work() -> None:
        beat.step()
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    beat.step()

    assert Job.objects.count() == 30
    assert Job.objects.values("schedule_id").distinct().count() == 30


def test_a_beat_passes_over_what_another_is_serving(declare: Callable[..., None]) -> None:
    declare(often=timedelta(hours=1))
    make_due("often")
    served = threading.Event()

    def other() -> None:
        # It looks again in a tenth of a second, and does not spin.
        waits.append(beat.step())
        served.set()
        connection.close()

    waits: list[float] = []
    with transaction.atomic():
        Schedule.objects.select_for_update().get()
        thread = threading.Thread(target=other)
        thread.start()
        assert served.wait(5)
        assert not Job.objects.exists()
    thread.join()
    assert waits == [0.1]


def test_a_tick_that_is_due_survives_an_edit_of_its_arguments(
    declare: Callable[..., None],
) -> None:
    declare(nightly="0 3 * * *")
    due = make_due("nightly")
    Schedule.objects.update(arguments={"args": [99], "kwargs": {}})

    beat.synchronise()
    beat.step()

    job = Job.objects.get()
    assert (job.tick, job.args) == (due, [1])


def test_a_declaration_that_is_wrong_stops_no_other(declare: Callable[..., None]) -> None:
    declare(good="0 3 * * *")
    said = {
        "bad": {"task": "tests.tasks.vanished", "schedule": "0 3 * * *"},
        "good": {"task": "tests.tasks.add", "schedule": "0 4 * * *", "args": [1]},
    }
    with override_settings(JOBS={"SCHEDULES": said}):
        beat.synchronise()

    assert Schedule.objects.get().line == "0 4 * * *"


def test_a_bad_schedule_is_shown_as_bad_and_stops_no_other(declare: Callable[..., None]) -> None:
    declare(bad=timedelta(hours=1), good=timedelta(hours=1))
    Schedule.objects.filter(name="bad").update(task="tests.tasks.vanished")
    make_due("bad")
    make_due("good")

    beat.step()

    bad = Schedule.objects.get(name="bad")
    assert "TaskNotFound" in bad.problem
    assert bad.next_run_at is not None
    assert bad.next_run_at > datetime.now(UTC)
    assert Job.objects.get().schedule_id == Schedule.objects.get(name="good").pk


def test_a_mended_schedule_fires_the_tick_that_it_missed(declare: Callable[..., None]) -> None:
    declare(often=timedelta(seconds=5))
    Schedule.objects.update(task="tests.tasks.vanished")
    make_due("often", ago=timedelta(minutes=1))
    beat.step()
    Schedule.objects.update(task="tests.tasks.add", next_run_at=Now())

    beat.step()

    row = Schedule.objects.get()
    assert row.problem == ""
    assert Job.objects.get().tick == row.last_tick


def test_an_edit_moves_the_next_tick_and_keeps_the_operators_switch(
    declare: Callable[..., None],
) -> None:
    declare(nightly="0 3 * * *")
    Schedule.objects.update(enabled=False)
    declare(nightly="30 4 * * *")

    row = Schedule.objects.get()
    assert row.line == "30 4 * * *"
    assert row.next_run_at is not None
    assert row.next_run_at.minute == 30
    assert not row.enabled


def test_what_is_declared_no_more_is_retired_and_comes_back(declare: Callable[..., None]) -> None:
    declare(nightly="0 3 * * *")
    declare()
    retired = Schedule.objects.get()
    declare(nightly="0 3 * * *")
    back = Schedule.objects.get()

    assert retired.retired_at is not None
    assert retired.next_run_at is None
    assert back.retired_at is None
    assert back.next_run_at is not None


def test_a_one_off_fires_once(declare: Callable[..., None]) -> None:
    declare(once=cron.at(datetime.now(UTC) + timedelta(hours=1)))
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=5)
    Schedule.objects.update(anchor=moment, next_run_at=moment)

    beat.step()

    assert Job.objects.get().tick == moment
    assert Schedule.objects.get().next_run_at is None


def test_a_step_tells_how_long_there_is_nothing_to_do(declare: Callable[..., None]) -> None:
    declare(nightly="0 3 * * *")
    Schedule.objects.update(next_run_at=Now() + timedelta(milliseconds=300))

    assert 0 < beat.step() <= 0.3
    Schedule.objects.update(next_run_at=Now() + timedelta(hours=3))
    assert beat.step() == 1.0


def test_a_real_beat_and_a_worker_with_a_beat_fire_each_second_once(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    beats = [
        start_worker(command="runbeat", JOBS_TEST_EVERY_SECOND="1"),
        start_worker("--beat", "--processes", "1", JOBS_TEST_EVERY_SECOND="1"),
    ]

    eventually(lambda: Job.objects.filter(state="succeeded").count() >= 3)

    for process in beats:
        process.signal(signal.SIGTERM)
    assert [process.wait() for process in beats] == [0, 0]
    ticks = sorted(job.tick for job in Job.objects.all() if job.tick)
    steps = {later - earlier for earlier, later in pairwise(ticks)}
    assert steps == {timedelta(seconds=1)}
