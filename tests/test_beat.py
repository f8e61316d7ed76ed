"""Schedules: kept in step with their declarations, each tick once, a bad one alone."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.db import connection as django_connection
from django.db.models import F
from django.db.models.functions import Now
from django.test import override_settings
from django.utils import timezone

from jobs import Job, beat, cron, lifecycle
from jobs.beat import firing, serving
from jobs.errors import InvalidCall, InvalidTask
from jobs.models import Refusal, Schedule
from jobs.tasks import definition, registry
from tests.beats.trial import Trial
from tests.eventually import eventually
from tests.refusing import refusing
from tests.workers import WorkerProcess

pytestmark = pytest.mark.django_db(transaction=True)

Declare = Callable[..., None]
# An hour's ticks of its own are half an hour away, so that none comes in between.
CALM = datetime.now(UTC) - timedelta(minutes=30)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def step(connect: Callable[[], psycopg.Connection[Any]]) -> Callable[[], float | None]:
    """One step of a beat of this test's own."""
    made = beat.Beat(connect())
    return made.step


@pytest.fixture
def declare(step: Callable[[], float | None]) -> Iterator[Declare]:
    """Declare schedules of tests.tasks.add in JOBS, and let a beat plan them."""
    overrides = []

    def declare(_task: str = "tests.tasks.add", /, **schedules: Any) -> None:
        said = {}
        for name, rule in schedules.items():
            entry = rule if isinstance(rule, dict) else {"schedule": rule, "args": [1]}
            if entry.get("schedule") == HOUR:
                entry = entry | {"schedule": cron.Every(HOUR, CALM)}
            said[name] = {"task": _task} | entry
        overrides.append(override_settings(JOBS={"SCHEDULES": said}))
        overrides[-1].enable()
        beat.synchronise()
        step()

    yield declare
    for override in reversed(overrides):
        override.disable()


def row(name: str = "it") -> Schedule:
    return Schedule.objects.get(name=name)


def make_due(name: str = "it", *, ago: timedelta = SECOND) -> datetime:
    """Let a tick of the schedule be due since `ago`; returns the tick."""
    due = timezone.now() - ago
    Schedule.objects.filter(name=name).update(next_run_at=due, created_at=due - ago)
    return due


def ticks() -> list[datetime]:
    return [tick for job in Job.objects.order_by("id") if (tick := job.tick)]


# What is declared.


def test_what_is_declared_becomes_a_row_with_its_next_tick(declare: Declare) -> None:
    declare(nightly="0 3 * * *", often=timedelta(seconds=90))

    nightly, often = row("nightly"), row("often")
    assert (nightly.kind, nightly.line, nightly.source) == ("cron", "0 3 * * *", "settings")
    assert nightly.next_run_at is not None
    assert (nightly.next_run_at.hour, nightly.next_run_at.minute) == (3, 0)
    assert (often.kind, often.interval) == ("interval", timedelta(seconds=90))
    assert often.stale_since is None


def test_every_option_that_is_declared_stands_in_the_row(declare: Declare) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    options = {
        "queue_name": "slow", "priority": 7, "run_after": SECOND, "max_attempts": 5,
        "max_losses": 0, "timeout": MINUTE, "expires_after": HOUR, "metadata": {"by": "beat"},
        "starts_at": moment, "ends_at": moment + HOUR, "catch_up": "all", "catch_up_limit": 9,
        "grace": HOUR, "overlap": "skip", "jitter": MINUTE, "max_runs": 3, "description": "why",
    }  # fmt: skip
    declare(it={"schedule": "0 3 * * *", "args": [1]} | options)

    found = row()
    assert {name: getattr(found, name) for name in options} == options
    assert found.next_run_at is None


def hourly() -> None: ...


def test_what_is_declared_with_its_task_becomes_a_row(
    monkeypatch: pytest.MonkeyPatch, step: Callable[[], float | None]
) -> None:
    made = definition.build(hourly, {"schedule": cron.cron("@hourly", overlap="skip")})
    monkeypatch.setitem(registry._by_name, made.name, made)

    beat.synchronise()
    step()

    found = row("tests.test_beat.hourly")
    assert (found.source, found.line, found.overlap) == ("code", "@hourly", "skip")
    assert found.next_run_at is not None


def test_a_migration_brings_what_code_declares(settings: Any) -> None:
    said = {"task": "tests.tasks.noop", "schedule": "0 3 * * *"}
    settings.JOBS = {**settings.JOBS, "SCHEDULES": {"it": said}}

    call_command("migrate", verbosity=0)

    assert row().line == "0 3 * * *"


def test_a_declaration_that_is_wrong_stops_no_other(declare: Declare) -> None:
    declare(good="0 3 * * *")
    said = {
        "bad": {"task": "tests.tasks.vanished", "schedule": "0 3 * * *"},
        "good": {"task": "tests.tasks.add", "schedule": "0 4 * * *", "args": [1]},
    }
    with override_settings(JOBS={"SCHEDULES": said}):
        beat.synchronise()

    assert Schedule.objects.get().line == "0 4 * * *"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"schedule": "0 3 30 2 *"}, "names no date"),
        ({"schedule": cron.Cron("0 3 * * *"), "args": [1], "kwargs": {"c": 1}}, "unexpected"),
        ({"schedule": "0 3 * * *"}, "missing a required argument"),
        ({"schedule": "0 3 * * *", "args": [1], "overlap": "no"}, "overlap"),
        ({"schedule": "0 3 * * *", "args": [1], "priority": 1000}, "priority"),
        ({"schedule": "0 3 * * *", "args": [1], "queue": "mail"}, "no option 'queue'"),
        ({"schedule": "0 3 * * *", "args": [1], "tick_argument": "c"}, "unexpected keyword"),
        ({"args": [1]}, "needs 'task' and 'schedule'"),
    ],
)
def test_a_check_names_what_is_wrong_with_a_declaration(
    entry: dict[str, Any], words: str, settings: Any
) -> None:
    from jobs.checks import check_settings

    said = {"it": {"task": "tests.tasks.add"} | entry}
    settings.JOBS = {**settings.JOBS, "SCHEDULES": said}

    [error] = [found for found in check_settings(None) if found.id == "jobs.E007"]
    assert "'it'" in error.msg
    assert words in error.msg


def test_an_edit_moves_the_next_tick_and_keeps_the_operators_switch(declare: Declare) -> None:
    declare(it="0 3 * * *")
    Schedule.objects.update(enabled=False)
    declare(it="30 4 * * *")

    assert (row().line, row().enabled, row().next_run_at) == ("30 4 * * *", False, None)
    Schedule.objects.update(enabled=True)
    declare(it="30 4 * * *")
    due = row().next_run_at
    assert due is not None
    assert due.minute == 30


def test_what_is_declared_no_more_is_retired_and_comes_back(declare: Declare) -> None:
    Schedule.objects.create(name="mine", task="tests.tasks.noop", kind="cron", line="0 3 * * *")
    declare(it="0 3 * * *")
    declare()
    retired = row()
    declare(it="0 3 * * *")
    back = row()

    assert (retired.retired_at is None, retired.next_run_at) == (False, None)
    assert back.retired_at is None
    assert back.next_run_at is not None
    # What was made by hand is nobody's to retire.
    assert row("mine").next_run_at is not None


def test_a_tick_that_is_due_survives_an_edit_of_its_arguments(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(it="0 3 * * *")
    due = make_due()
    Schedule.objects.update(arguments={"args": [99], "kwargs": {}})

    beat.synchronise()
    step()

    job = Job.objects.get()
    assert (job.tick, job.args) == (due, [1])


# Rows that are changed behind everybody's back.


def test_a_row_is_planned_however_it_was_made_or_changed(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    with django_connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO jobs_schedule (name, task, kind, line) "
            "VALUES ('it', 'tests.tasks.noop', 'cron', '0 3 * * *')"
        )
    step()
    made = row()
    Schedule.objects.update(line="0 4 * * *")
    changed = row()
    step()

    assert made.source == "hand"
    assert made.next_run_at is not None
    assert made.next_run_at.hour == 3
    assert (changed.next_run_at, changed.stale_since is None) == (None, False)
    planned = row().next_run_at
    assert planned is not None
    assert planned.hour == 4


def test_what_falls_due_between_a_change_and_its_planning_is_not_missed(
    step: Callable[[], float | None],
) -> None:
    Schedule.objects.create(name="it", task="tests.tasks.noop", kind="cron", line="* * * * *")
    # As if no beat had run for the last hour.
    Schedule.objects.update(stale_since=Now() - HOUR)

    step()
    step()

    assert Job.objects.count() == 1


def test_who_is_switched_off_catches_up_with_nothing(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(it=HOUR)
    make_due(ago=3 * HOUR)
    Schedule.objects.update(enabled=False)
    step()
    Schedule.objects.update(enabled=True)
    step()

    assert not Job.objects.exists()
    due = row().next_run_at
    assert due is not None
    assert due > timezone.now()


def test_what_was_planned_by_another_tz_database_is_planned_again(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(moved="0 3 * * *", same="0 3 * * *")
    planned = row("same").next_run_at
    assert planned is not None
    Schedule.objects.filter(name="moved").update(next_run_at=planned + HOUR)

    serving.replan()
    assert row("same").next_run_at == planned
    step()

    assert row("moved").next_run_at == planned


# Ticks.


def test_a_tick_is_enqueued_once_with_its_arguments(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(it=HOUR)
    due = make_due()

    step()
    step()

    job, found = Job.objects.get(), row()
    assert (job.task, job.args, job.tick) == ("tests.tasks.add", [1], due)
    assert job.schedule_id == found.pk
    assert (found.last_tick, found.last_job_id, found.problem) == (due, job.pk, "")
    assert found.runs == 1
    assert found.next_run_at is not None
    assert found.next_run_at > due


def test_its_jobs_have_the_options_of_the_schedule(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    options = {
        "queue_name": "slow", "priority": 7, "run_after": HOUR, "max_attempts": 5,
        "max_losses": 0, "timeout": MINUTE, "expires_after": HOUR, "metadata": {"by": "beat"},
    }  # fmt: skip
    declare(it={"schedule": "* * * * *", "args": [1]} | options)
    make_due()

    step()

    job = Job.objects.get()
    kept = {name: getattr(job, name, None) for name in options if hasattr(job, name)}
    assert kept == {k: v for k, v in options.items() if k not in ("run_after", "expires_after")}
    assert job.run_at - job.enqueued_at == HOUR
    assert job.expires_at == job.run_at + HOUR


def test_after_a_rest_one_job_stands_for_all_missed_ticks(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(it=timedelta(seconds=10))
    make_due(ago=3 * HOUR)

    step()

    [tick] = ticks()
    assert timezone.now() - tick < timedelta(seconds=15)


def test_a_schedule_may_want_each_missed_tick_or_none(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    each = {"schedule": HOUR, "args": [1], "catch_up": "all", "catch_up_limit": 3}
    declare(each=each, none={"schedule": HOUR, "args": [1], "catch_up": "none"})
    make_due("each", ago=10 * HOUR)
    make_due("none", ago=10 * HOUR)

    step()

    assert {job.schedule_id for job in Job.objects.all()} == {row("each").pk}
    assert [later - earlier for earlier, later in pairwise(ticks())] == [HOUR, HOUR]
    assert row("each").runs == 3
    none = row("none")
    assert (none.runs, none.skips, none.skipped_because) == (0, 1, "late")
    assert none.skipped_tick is not None


def test_while_the_last_run_lives_the_next_is_skipped(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(it={"schedule": HOUR, "args": [1], "overlap": "skip"})
    make_due(ago=2 * HOUR)
    step()
    due = make_due()
    step()
    skipped = row()
    Job.objects.get().cancel()
    make_due()
    step()

    assert Job.objects.count() == 2
    assert (skipped.skips, skipped.skipped_because) == (1, "overlap")
    assert skipped.last_tick == skipped.skipped_tick == due
    assert row().runs == 2


def test_or_the_last_run_gives_way_to_the_next(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(it={"schedule": HOUR, "args": [1], "overlap": "cancel"})
    make_due(ago=2 * HOUR)
    step()
    make_due()
    step()

    old, new = Job.objects.order_by("id")
    assert (old.state, new.state) == ("cancelled", "queued")
    assert "next run" in (old.cancelled_because or "")


def test_a_schedule_ends_after_so_many_runs(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(it={"schedule": HOUR, "args": [1], "max_runs": 2, "catch_up": "all"})
    make_due(ago=10 * HOUR)

    step()

    assert (Job.objects.count(), row().runs, row().next_run_at) == (2, 2, None)


def test_a_jitter_puts_a_run_off_and_leaves_its_tick(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(it={"schedule": MINUTE, "args": [1], "jitter": HOUR, "catch_up": "all"})
    make_due(ago=20 * MINUTE)

    step()

    jobs = list(Job.objects.all())
    delays = {job.run_at - job.enqueued_at for job in jobs}
    assert len(delays) == len(jobs) >= 20
    assert all(timedelta(0) <= delay <= HOUR for delay in delays)
    # The first is no minute's: the test has made it due.
    steps = {later - earlier for earlier, later in pairwise(ticks()[1:])}
    assert steps == {MINUTE}


def test_a_task_may_ask_for_its_tick(
    declare: Declare, step: Callable[[], float | None], start_worker: Callable[..., WorkerProcess]
) -> None:
    declare("tests.tasks.told_its_tick", it={"schedule": HOUR, "tick_argument": "tick"})
    due = make_due()

    step()

    job = Job.objects.get()
    assert start_worker("--burst", "--processes", "1").wait() == 0
    job.refresh()
    assert job.return_value == [due, due]


def test_a_one_off_fires_once(declare: Declare, step: Callable[[], float | None]) -> None:
    declare(it=cron.at(timezone.now() + HOUR))
    moment = make_due(ago=5 * SECOND)
    Schedule.objects.update(anchor=moment)
    step()
    Schedule.objects.update(next_run_at=moment)

    step()

    assert ticks() == [moment]
    assert row().next_run_at is None


def test_a_clock_that_is_set_back_fires_nothing_twice(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(it=HOUR)
    make_due()
    step()

    Schedule.objects.update(next_run_at=F("last_tick"))
    step()
    # Nor when it is planned anew meanwhile, from a moment before its last tick.
    Schedule.objects.update(stale_since=F("last_tick") - 3 * HOUR, next_run_at=None)
    step()
    step()

    assert Job.objects.count() == 1
    assert row().next_run_at is not None


# Several beats.


def test_two_beats_never_share_a_tick(
    declare: Declare, connect: Callable[[], psycopg.Connection[Any]]
) -> None:
    declare(**{f"s{i}": HOUR for i in range(30)})
    for i in range(30):
        make_due(f"s{i}")
    beats = [beat.Beat(connect()) for _ in range(4)]

    threads = [threading.Thread(target=one.step) for one in beats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    beats[0].step()

    assert Job.objects.count() == 30
    assert Job.objects.values("schedule_id").distinct().count() == 30


def test_a_beat_passes_over_what_another_is_serving(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(it=HOUR)
    make_due()

    with transaction.atomic():
        Schedule.objects.select_for_update(no_key=True).get()
        # It looks again in a tenth of a second, and does not spin.
        assert step() == 0.1
        assert not Job.objects.exists()
    step()

    assert Job.objects.count() == 1


def test_a_beat_that_thought_for_too_long_fires_nothing(
    declare: Declare, connect: Callable[[], psycopg.Connection[Any]]
) -> None:
    """Stopped between its look and its move, while others moved on and the row was edited."""
    declare(it=HOUR)
    make_due()
    slow, quick = beat.Beat(connect()), beat.Beat(connect())
    rows, now, _ = slow._due()
    moves, _ = slow._decide(rows, now)

    quick.step()
    assert lifecycle.fire(slow._connection, moves) == set()
    assert Job.objects.count() == 1

    make_due()
    rows, now, _ = slow._due()
    moves, _ = slow._decide(rows, now)
    Schedule.objects.update(arguments={"args": [2], "kwargs": {}})
    assert lifecycle.fire(slow._connection, moves) == set()
    quick.step()
    assert sorted(job.args for job in Job.objects.all()) == [[1], [2]]


# What is wrong with one.


def test_a_bad_schedule_is_shown_as_bad_and_stops_no_other(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(bad=HOUR, good=HOUR)
    Schedule.objects.filter(name="bad").update(task="tests.tasks.vanished")
    make_due("bad")
    make_due("good")

    step()

    bad = row("bad")
    assert "TaskNotFound" in bad.problem
    assert bad.next_run_at is not None
    assert bad.next_run_at > timezone.now()
    assert Job.objects.get().schedule_id == row("good").pk


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"line": "0 3 30 2 *"}, "names no date"),
        ({"line": "not a line"}, "fields"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"kind": "solar", "event": "x", "latitude": 1, "longitude": 1}, "the sun does no"),
    ],
)
def test_a_rule_that_became_bad_is_shown_as_bad(
    declare: Declare, step: Callable[[], float | None], change: dict[str, Any], words: str
) -> None:
    declare(bad="0 3 * * *", good=HOUR)
    Schedule.objects.filter(name="bad").update(**change)
    make_due("good")

    step()

    assert words in row("bad").problem
    assert Job.objects.count() == 1
    Schedule.objects.filter(name="bad").update(kind="cron", line="0 4 * * *", timezone="")
    step()
    assert row("bad").problem == ""


def test_what_postgresql_refuses_does_not_sink_its_batch(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(bad={"schedule": HOUR, "args": [1], "queue_name": "refused"}, good=HOUR)
    make_due("bad")
    make_due("good")
    with django_connection.cursor() as cursor:
        # A site's own rule.
        cursor.execute("ALTER TABLE jobs_job ADD CONSTRAINT own CHECK (queue_name <> 'refused')")
    try:
        step()
    finally:
        with django_connection.cursor() as cursor:
            cursor.execute("ALTER TABLE jobs_job DROP CONSTRAINT own")

    assert "CheckViolation" in row("bad").problem
    assert Job.objects.get().schedule_id == row("good").pk


@pytest.mark.parametrize("sqlstate", ["P0001", "40001", "55P03", "57014", "08006", "42501"])
def test_a_trigger_that_refuses_one_schedules_job_stops_no_other(
    declare: Declare, step: Callable[[], float | None], sqlstate: str
) -> None:
    declare(bad=HOUR, good=HOUR, fine=HOUR)
    for name in ("bad", "good", "fine"):
        make_due(name)
    condition = f"NEW.schedule_id = {row('bad').pk}"
    with refusing("jobs_job", "INSERT", condition, sqlstate):
        step()

    assert "the site refuses this row" in row("bad").problem
    fired = set(Job.objects.values_list("schedule_id", flat=True))
    assert fired == {row("good").pk, row("fine").pk}
    Schedule.objects.filter(name="bad").update(task=row("bad").task)
    step()
    assert Job.objects.filter(schedule_id=row("bad").pk).exists()


def test_a_schedule_of_which_nothing_may_be_written_stops_no_other_and_is_told_once(
    declare: Declare,
    step: Callable[[], float | None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declare(bad=HOUR, good=HOUR)
    make_due("bad")
    make_due("good")
    with refusing("jobs_schedule", "UPDATE", f"NEW.id = {row('bad').pk}"):
        for _ in range(5):
            step()

        assert Job.objects.get().schedule_id == row("good").pk
        refusal = Refusal.objects.get()
        assert (refusal.subject, refusal.key) == ("schedule", str(row("bad").pk))
    lines = [one for one in caplog.records if "refuse" in one.getMessage()]
    assert len(lines) == 2
    later = time.monotonic() + 61
    monkeypatch.setattr("jobs.beat.firing.time.monotonic", lambda: later)
    step()
    assert Job.objects.count() == 2
    assert not Refusal.objects.exists()


@pytest.mark.parametrize("change", ["ends_at = 'infinity'", "grace = '300000 years'"])
def test_a_value_that_python_cannot_hold_is_refused_by_the_database(
    declare: Declare, change: str
) -> None:
    declare(it=HOUR)

    with pytest.raises(IntegrityError), django_connection.cursor() as cursor:
        cursor.execute(f"UPDATE jobs_schedule SET {change}")


def test_a_bad_schedule_whose_row_somebody_holds_puts_off_no_other(
    declare: Declare, step: Callable[[], float | None], connection: psycopg.Connection[Any]
) -> None:
    declare(bad=HOUR, good=HOUR)
    Schedule.objects.filter(name="bad").update(task="tests.tasks.vanished")
    make_due("bad")
    make_due("good")

    with connection.transaction():
        connection.execute("SELECT FROM jobs_schedule WHERE name = 'bad' FOR UPDATE")
        step()

    assert Job.objects.count() == 1


def test_a_run_that_cannot_be_cancelled_now_puts_off_only_its_own_successor(
    declare: Declare, step: Callable[[], float | None], connection: psycopg.Connection[Any]
) -> None:
    both = {"schedule": HOUR, "args": [1], "overlap": "cancel"}
    declare(held=both, free=both)
    for _ in range(2):
        make_due("held", ago=2 * HOUR)
        make_due("free", ago=2 * HOUR)
        if not Job.objects.exists():
            step()
    Schedule.objects.update(last_tick=None)
    old = row("held").last_job_id

    with connection.transaction():
        connection.execute("SELECT FROM jobs_job WHERE id = %s FOR UPDATE", [old])
        step()
    states = Job.objects.order_by("id").values_list("schedule_id", "state")

    assert list(states.filter(schedule_id=row("held").pk)) == [(row("held").pk, "queued")]
    assert [state for _, state in states.filter(schedule_id=row("free").pk)] == [
        "cancelled",
        "queued",
    ]


# Copies of a row that are saved whole.


def test_who_saves_an_old_copy_writes_over_no_beat(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(it=HOUR)
    due = make_due()
    mine = row()
    step()
    mine.description = "changed"
    mine.save()
    step()

    assert ticks() == [due]
    assert (row().description, row().runs, row().last_tick) == ("changed", 1, due)
    with django_connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_schedule SET timeout = NULL, last_tick = NULL, runs = 0")
    assert (row().runs, row().last_tick) == (1, due)


def test_who_saves_what_was_just_made_unplans_nothing(step: Callable[[], float | None]) -> None:
    made = Schedule.objects.create(
        name="it", task="tests.tasks.noop", kind="cron", line="0 3 * * *"
    )
    made.description = "changed"
    made.save()
    step()
    made.save()
    step()

    assert row().next_run_at is not None


@pytest.mark.parametrize("odd", ["9" * 5000, "[" * 3000 + "]" * 3000])
def test_json_that_python_cannot_read_is_its_own_schedules_problem(
    declare: Declare, step: Callable[[], float | None], odd: str
) -> None:
    declare(bad=HOUR, good=HOUR)
    make_due("bad")
    make_due("good")
    with django_connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_schedule SET arguments = %s WHERE name = 'bad'", [odd])

    step()

    assert Job.objects.count() == 1
    assert Schedule.objects.exclude(problem="").values_list("name", flat=True)[0] == "bad"


@pytest.mark.parametrize(
    "entry",
    [
        {"timezone": 5}, {"timezone": ["x"]}, {"line": "x"}, {"description": "\ud800"},
        {"queue_name": "\ud800"}, {"task": None}, {"metadata": {"at": float("nan")}},
        {"max_runs": 10**12}, {5: 6},
    ],
)  # fmt: skip
def test_whatever_settings_hold_is_refused_alone(entry: dict[Any, Any], settings: Any) -> None:
    from jobs.checks import check_settings

    good = {"task": "tests.tasks.noop", "schedule": "0 3 * * *"}
    bad = {"task": "tests.tasks.add", "schedule": "0 3 * * *", "args": [1]} | entry
    settings.JOBS = {**settings.JOBS, "SCHEDULES": {"bad": bad, "good": good}}

    assert [found.id for found in check_settings(None)] == ["jobs.E007"]
    beat.synchronise()
    assert list(Schedule.objects.values_list("name", flat=True)) == ["good"]


def test_a_beat_whose_declarations_wait_for_a_lock_fires_what_is_due(
    declare: Declare, connection: psycopg.Connection[Any]
) -> None:
    declare(held=HOUR, free=HOUR)
    make_due("free")
    server = serving._Server()
    with contextlib.closing(server), connection.transaction():
        connection.execute("SELECT FROM jobs_schedule WHERE name = 'held' FOR UPDATE")
        server.step()

    assert Job.objects.count() == 1


def test_declarations_that_could_not_be_read_are_read_soon(
    declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when PostgreSQL crashes while a beat starts."""
    declare(it=HOUR)
    Schedule.objects.all().delete()
    server = serving._Server()
    with contextlib.closing(server):
        with monkeypatch.context() as patched:
            patched.setattr(serving, "synchronise", lambda: 1 / 0)
            wait = server.step()
        assert 0.5 < wait <= 1.0
        assert not Schedule.objects.exists()
        # The connection is another: at once.
        server.close()
        server.step()

    assert row().next_run_at is not None


def test_what_could_not_be_planned_is_planned_from_when_it_changed(
    step: Callable[[], float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    Schedule.objects.create(
        name="it", task="tests.tasks.noop", kind="cron", line="0 * * * *", catch_up="all"
    )
    Schedule.objects.update(stale_since=Now() - 3 * HOUR)
    with monkeypatch.context() as patched:
        patched.setattr(Schedule, "first_after", lambda *_: 1 / 0)
        step()
    assert "ZeroDivisionError" in row().problem
    # Not before it is time to try again.
    step()
    assert not Job.objects.exists()
    Schedule.objects.update(next_run_at=Now())
    step()
    step()

    assert Job.objects.count() == 3


def test_what_others_hold_hides_nothing_behind_it(
    declare: Declare,
    step: Callable[[], float | None],
    connection: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(firing, "_BATCH", 2)
    declare(**{f"s{i}": HOUR for i in range(5)})
    for i in range(5):
        make_due(f"s{i}", ago=(10 - i) * SECOND)

    with connection.transaction():
        connection.execute("SELECT FROM jobs_schedule WHERE name < 's2' FOR UPDATE")
        step()

    assert Job.objects.count() == 3


def test_moments_are_in_utc_whatever_the_servers_zone(
    declare: Declare, connection: psycopg.Connection[Any]
) -> None:
    """Behind a pooler, a session's options are another's."""
    declare(it=HOUR)
    connection.execute("SET TIME ZONE 'Europe/Berlin'")
    make_due()

    rows, now, _ = beat.Beat(connection)._due()

    assert now.tzinfo is UTC
    assert rows[0].schedule.next_run_at is not None
    assert rows[0].schedule.next_run_at.tzinfo is UTC


def test_an_old_copy_revives_nothing_that_was_retired(declare: Declare) -> None:
    declare(it=HOUR)
    mine = row()
    declare()
    mine.save()

    assert row().retired_at is not None


def test_a_declaration_that_postgresql_refuses_stops_no_other(declare: Declare) -> None:
    declare(**{"x" * 300: HOUR, "good": HOUR})

    assert row("good").next_run_at is not None
    assert Schedule.objects.count() == 1


def test_a_mended_schedule_fires_the_tick_that_it_missed(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(it=timedelta(seconds=5))
    Schedule.objects.update(task="tests.tasks.vanished")
    make_due(ago=MINUTE)
    step()
    # It is tried at once.
    Schedule.objects.update(task="tests.tasks.add")
    step()

    assert row().problem == ""
    assert ticks() == [row().last_tick]


def test_what_was_not_missed_is_not_made_up_for_after_a_problem(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    """Switched off for days, on again, and then its first tick fails."""
    declare(it={"schedule": HOUR, "args": [1], "catch_up": "all"})
    Schedule.objects.update(last_tick=Now() - timedelta(days=3))
    due = make_due()
    Schedule.objects.update(task="tests.tasks.vanished")
    step()
    Schedule.objects.update(task="tests.tasks.add")
    step()

    assert ticks() == [due]


def test_a_problem_stays_while_no_tick_is_fired(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    declare(it={"schedule": MINUTE, "args": [1], "catch_up": "none"})
    Schedule.objects.update(task="tests.tasks.vanished")
    make_due(ago=10 * MINUTE)
    step()
    Schedule.objects.update(next_run_at=Now())
    step()

    assert "TaskNotFound" in row().problem


# Run now.


def test_run_now_makes_a_job_that_has_no_tick(declare: Declare) -> None:
    declare(it={"schedule": HOUR, "args": [1], "queue_name": "slow", "jitter": HOUR})

    job = beat.run_now(row())

    assert (job.args, job.tick, job.queue_name) == ([1], None, "slow")
    assert job.run_at == job.enqueued_at
    assert (row().last_job_id, row().runs, row().last_tick) == (job.pk, 0, None)


def test_run_now_tells_the_moment_for_the_tick(declare: Declare) -> None:
    declare("tests.tasks.told_its_tick", it={"schedule": HOUR, "tick_argument": "tick"})

    job = beat.run_now(row())

    assert set(job.kwargs) == {"tick"}


def test_run_now_says_why_it_cannot(declare: Declare) -> None:
    declare(it=HOUR)
    Schedule.objects.update(arguments={"args": [1, 2, 3], "kwargs": {}})
    with pytest.raises(InvalidCall):
        beat.run_now(row())
    Schedule.objects.update(arguments={"args": [1], "kwargs": {}}, priority=1000)
    with pytest.raises(InvalidTask, match="priority"):
        beat.run_now(row())


# Sleep.


def test_a_step_tells_how_long_there_is_nothing_to_do(
    declare: Declare, step: Callable[[], float | None]
) -> None:
    assert step() is None
    declare(it="0 3 * * *")
    Schedule.objects.update(next_run_at=Now() + timedelta(milliseconds=300))
    soon = step()
    Schedule.objects.update(next_run_at=Now() + 3 * HOUR)
    later = step()

    assert soon is not None
    assert 0 < soon <= 0.3
    assert later is not None
    assert 3599 < later / 3 <= 3600


def test_a_beat_wakes_when_a_schedule_is_made_or_changed(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    start_worker(command="runbeat")
    eventually(_a_beat_listens)
    began = time.monotonic()
    Schedule.objects.create(
        name="it", task="tests.tasks.noop", kind="at", anchor=timezone.now() + SECOND
    )

    eventually(lambda: Job.objects.exists())
    # It would have slept for a minute.
    assert time.monotonic() - began < 10
    Schedule.objects.update(anchor=timezone.now() + SECOND)
    eventually(lambda: Job.objects.count() == 2)


def _a_beat_listens() -> bool:
    with django_connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jobs beat' "
            "AND state = 'idle' AND query NOT LIKE 'LISTEN%%' AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


def test_a_beat_that_was_stopped_catches_up_as_its_schedules_say(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    for name in ("latest", "all"):
        Schedule.objects.create(
            name=name, task="tests.tasks.noop", kind="interval", interval=SECOND,
            anchor=datetime(2026, 1, 1, tzinfo=UTC), catch_up=name,
        )  # fmt: skip
    process = start_worker(command="runbeat")
    eventually(lambda: row("all").runs > 0 and row("latest").runs > 0)
    os.kill(process.pid, signal.SIGSTOP)
    before = {name: row(name).runs for name in ("latest", "all")}
    stopped_at = row("all").last_tick
    assert stopped_at is not None
    eventually(lambda: timezone.now() - stopped_at > 4 * SECOND)
    os.kill(process.pid, signal.SIGCONT)
    eventually(lambda: row("all").runs >= before["all"] + 4)
    assert process.stop() == 0

    of_all = sorted(job.tick for job in Job.objects.filter(schedule_id=row("all").pk))  # type: ignore[type-var]
    assert {later - earlier for earlier, later in pairwise(of_all)} == {SECOND}  # type: ignore[operator]
    assert row("latest").runs < row("all").runs


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
    steps = {later - earlier for earlier, later in pairwise(sorted(ticks()))}
    assert steps == {SECOND}


def test_of_three_beats_some_may_die_or_sleep_and_each_tick_is_fired_once(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    """For some seconds; `make beats` takes minutes."""
    seed = random.randrange(10_000)
    trial = Trial(lambda: start_worker(command="runbeat").process, 12.0, seed, "tests.tasks.noop")

    figures = trial.run()

    assert figures["wrong"] == [], f"seed {seed}"
    assert figures["ticks"] > 100
    assert figures["killed"] + figures["stopped"] > 0
