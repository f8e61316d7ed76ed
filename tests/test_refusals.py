"""What PostgreSQL or a trigger of the site refuses of one row costs that row, and nothing else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError
from django.db import connection as django_connection

from jobs import enqueue, enqueue_many, ids, lifecycle, task
from jobs.execution.logs import LogHandler
from jobs.lifecycle import START, Lane
from jobs.models import Attempt, AttemptLog, Claim, Job, Refusal
from jobs.worker import Options, presence
from jobs.worker import recorder as recorder_module
from jobs.worker.rescuer import Rescuer
from jobs.worker.tally import Tally
from tests import tasks
from tests.eventually import eventually
from tests.one_runner import OneRunner
from tests.refusing import refusing
from tests.workers import WorkerProcess

MakeRunner = Callable[..., OneRunner]
# Of every class: also those that stand for a lost connection, a deadlock, a lock that is not
# available, when PostgreSQL itself raises them.
SQLSTATES = ("P0001", "42501", "23514", "22023", "40001", "40P01", "55P03", "57014", "08006",
             "53100", "25006", "57P01", "0A000", "26000", "XX001", "58030")  # fmt: skip


def test_the_first_due_job_is_looked_for_as_a_claim_does() -> None:
    claim, first = lifecycle_text("claim"), lifecycle_text("first_due")
    start, end = "FROM jobs_job\n", "ORDER BY queue_name, priority DESC, run_at, id"

    assert (
        claim.partition(start)[2].partition(end)[0] == first.partition(start)[2].partition(end)[0]
    )


def lifecycle_text(name: str) -> str:
    from jobs.lifecycle.statements import statement

    return statement(name)


@pytest.mark.parametrize("sqlstate", SQLSTATES)
def test_an_end_whose_attempt_is_refused_is_recorded_without_it(
    one_runner: MakeRunner, sqlstate: str
) -> None:
    bad, good = enqueue(tasks.boom), enqueue_many(tasks.noop, [()] * 50)
    condition = f"NEW.job_id = '{bad.pk}'"
    runner = one_runner()

    with refusing("jobs_attempt", "INSERT", condition, sqlstate):
        runner.step_until(lambda: not Job.objects.filter(finished_at=None).exists())

    assert Job.objects.filter(pk__in=good, state="succeeded").count() == 50
    job = Job.objects.get(pk=bad.pk)
    assert (job.state, job.reason) == ("failed", "refused")
    assert not Attempt.objects.exists()
    refusal = Refusal.objects.get()
    assert (refusal.subject, refusal.key) == ("attempt", str(bad.pk))
    assert sqlstate in refusal.message
    assert "site refuses this row" in refusal.message


@pytest.mark.parametrize("sqlstate", SQLSTATES)
def test_a_row_that_cannot_be_written_at_all_waits_alone_and_ends_once_it_can(
    one_runner: MakeRunner, sqlstate: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = enqueue(tasks.add, 1), enqueue_many(tasks.noop, [()] * 50)
    condition = f"NEW.id = '{bad.pk}' AND OLD.state = 'running'"
    runner = one_runner()

    with refusing("jobs_job", "UPDATE", condition, sqlstate):
        runner.step_until(lambda: Job.objects.filter(pk__in=good, state="succeeded").count() == 50)
        runner.step_until(Refusal.objects.exists)
        later = enqueue(tasks.noop)
        runner.step_until(lambda: Job.objects.get(pk=later.pk).is_finished)
        assert Job.objects.get(pk=bad.pk).state == "running"
    runner.step_until(lambda: Job.objects.get(pk=bad.pk).is_finished)

    # What it came to is not lost.
    assert Job.objects.get(pk=bad.pk).return_value == 2
    assert not Refusal.objects.exists()
    lines = [one.getMessage() for one in caplog.records if str(bad.pk) in one.getMessage()]
    assert len(lines) == 1


def test_what_is_refused_for_too_long_ends_as_a_failure(
    one_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_PATIENCE", 0.0)
    job = enqueue(tasks.add, 1)
    runner = one_runner()

    with refusing("jobs_job", "UPDATE", "NEW.state = 'succeeded'"):
        runner.step_until(lambda: Job.objects.get(pk=job.pk).is_finished)

    job.refresh()
    assert (job.state, job.reason) == ("failed", "refused")
    job.retry()
    runner.step_until(lambda: Job.objects.get(pk=job.pk).state == "succeeded")


def test_a_claim_whose_row_cannot_be_deleted_holds_up_nothing(one_runner: MakeRunner) -> None:
    runner = one_runner()
    with refusing("jobs_claim", "DELETE", "true"):
        for _ in range(3):
            enqueue_many(tasks.noop, [()] * 5)
            runner.step_until(lambda: not Job.objects.filter(finished_at=None).exists())
        assert Claim.objects.exists()


@pytest.mark.parametrize("sqlstate", SQLSTATES)
def test_a_job_that_cannot_be_claimed_is_set_aside_and_the_others_run(
    one_runner: MakeRunner, sqlstate: str
) -> None:
    before = enqueue_many(tasks.noop, [()] * 20)
    bad = enqueue(tasks.noop)
    after = enqueue_many(tasks.noop, [()] * 20)
    runner = one_runner()

    with refusing("jobs_job", "UPDATE", f"NEW.id = '{bad.pk}'", sqlstate):
        runner.step_until(
            lambda: Job.objects.filter(pk__in=[*before, *after], state="succeeded").count() == 40
        )
        runner.step_until(Refusal.objects.exists)
    refusal = Refusal.objects.get()
    assert (refusal.subject, refusal.key) == ("claim", str(bad.pk))
    runner.step_until(lambda: Job.objects.get(pk=bad.pk).state == "succeeded")
    runner.step_until(lambda: not Refusal.objects.exists())


def test_many_jobs_that_cannot_be_claimed_keep_nothing_behind_them(
    one_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.worker.claimer._MANY_IN_A_ROW", 5)
    bad = enqueue_many(tasks.noop.using(priority=5), [()] * 12)
    good = [*enqueue_many(tasks.noop, [()] * 20), *enqueue_many(tasks.async_nap, [(0,)] * 3)]
    runner = one_runner(burst=True)

    with refusing("jobs_job", "UPDATE", "NEW.priority = 5"):
        # And a burst ends: they are not its to run.
        runner.step_until(lambda: runner.dispatcher.finished)
        assert Job.objects.filter(pk__in=good, state="succeeded").count() == 23
        assert {refusal.key for refusal in Refusal.objects.all()} == {str(pk) for pk in bad}


def test_a_retry_whose_attempt_is_refused_counts_all_the_same(one_runner: MakeRunner) -> None:
    job = enqueue(tasks.flaky, 99)
    runner = one_runner()

    with refusing("jobs_attempt", "INSERT", "true"):
        runner.step_until(lambda: Job.objects.get(pk=job.pk).is_finished)

    job.refresh()
    assert (job.state, job.failures, job.attempt) == ("failed", 3, 3)


@task
def follows(job_id: object) -> None: ...


@task(on_success=follows)
def is_followed(number: int) -> int:
    return 2 * number


def test_a_result_is_kept_where_only_what_follows_is_refused(one_runner: MakeRunner) -> None:
    job = is_followed.enqueue(1)
    runner = one_runner()

    with refusing("jobs_job", "INSERT", "true"):
        runner.step_until(lambda: Job.objects.get(pk=job.pk).is_finished)

    assert job.wait() == 2
    assert Refusal.objects.get().subject == "follower"


def test_of_a_claim_whose_reply_was_lost_a_refused_job_keeps_no_other(
    one_runner: MakeRunner,
) -> None:
    made = enqueue_many(tasks.noop, [()] * 4)
    runner = one_runner(serves=False)
    claimer, connection = runner.dispatcher._claimer, runner.dispatcher._connected()
    lifecycle.claim(
        connection, dict.fromkeys(lifecycle.look(connection).first, START), 4,
        claim_id=ids.uuid7(), worker="test/1", worker_id=runner.identity.worker_id,
        runner=runner.identity.runner, set_aside=claimer._skipped(),
    ).read()  # fmt: skip

    with refusing("jobs_job", "UPDATE", f"NEW.id = '{made[0]}'"):
        runner.dispatcher.sweep()
        assert Job.objects.filter(state="queued").count() == 3
        assert Refusal.objects.get().key == str(made[0])
    runner.dispatcher.sweep()
    assert Job.objects.filter(state="queued").count() == 4


def test_an_attempt_out_of_range_stops_no_lane(one_runner: MakeRunner) -> None:
    with pytest.raises(IntegrityError, match="attempt"), django_connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO jobs_job (task, attempt) VALUES ('tests.tasks.noop', 2147483647)"
        )
    good = enqueue_many(tasks.noop, [()] * 5)
    with django_connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO jobs_job (task, attempt, enqueued_at, run_at)"
            " VALUES ('tests.tasks.noop', 2000000000, now() - interval '1 hour',"
            " now() - interval '1 hour') RETURNING id"
        )
        [bad] = cursor.fetchone()
    runner = one_runner()

    runner.step_until(lambda: Job.objects.filter(pk__in=good, state="succeeded").count() == 5)

    assert Job.objects.get(pk=bad).state == "queued"
    assert Refusal.objects.get().key == str(bad)


@pytest.mark.parametrize(
    "values",
    ["max_attempts, 0", "max_losses, -1", "max_attempts, 32767", "failures, -1", "attempt, -1",
     "run_at, 'infinity'", "run_at, '26203-01-01'", "run_at, '0044-03-15 BC'",
     "expires_at, '-infinity'", "enqueued_at, '10000-01-01'"],
)  # fmt: skip
def test_a_row_out_of_bounds_is_refused_where_it_is_made(db: None, values: str) -> None:
    column, value = values.split(", ")

    with (
        pytest.raises(IntegrityError, match="violates check constraint"),
        django_connection.cursor() as cursor,
    ):
        cursor.execute(f"INSERT INTO jobs_job (task, {column}) VALUES ('t', {value})")


def test_a_limit_that_was_lowered_under_a_running_job_is_met_by_its_failure(
    one_runner: MakeRunner,
) -> None:
    job = tasks.naps_and_fails.using(max_attempts=3).enqueue(0.3)
    runner = one_runner()
    runner.step_until(lambda: Job.objects.filter(pk=job.pk, state="running").exists())
    Job.objects.filter(pk=job.pk).update(failures=1, max_attempts=1)

    runner.step_until(lambda: Job.objects.get(pk=job.pk).state != "running")

    job.refresh()
    assert job.failures == 1
    assert job.last_problem is not None


def test_a_job_that_cannot_be_rescued_keeps_none_of_its_claim(
    connection: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    made = enqueue_many(tasks.noop, [()] * 4)
    worker_id, dead = ids.uuid7(), ids.uuid7()
    presence.register(connection, worker_id, Options(name="test"), [])
    lifecycle.claim(
        connection, {Lane("default", 0): START}, 4, claim_id=ids.uuid7(), worker="test/1",
        worker_id=worker_id, runner=dead,
    ).read()  # fmt: skip
    rescuer = Rescuer(lambda counts: None, lambda: None, Tally(ids.uuid7()))

    with refusing("jobs_job", "UPDATE", f"NEW.id = '{made[1]}'", "40001"):
        rescuer.rescue(connection, worker_id, [])
        rescuer.rescue(connection, worker_id, [])
        assert states() == {made[0]: "queued", made[1]: "running", made[2]: "queued",
                            made[3]: "queued"}  # fmt: skip
        assert Refusal.objects.get().key == str(made[1])
    rescuer.rescue(connection, worker_id, [])

    assert set(states().values()) == {"queued"}
    assert not Claim.objects.exists()
    assert not Refusal.objects.exists()
    assert sum("was refused" in record.getMessage() for record in caplog.records) == 1


def states() -> dict[Any, str]:
    return dict(Job.objects.values_list("pk", "state"))


def test_a_log_that_is_refused_costs_one_log(
    one_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = enqueue(tasks.logs_and_progresses), enqueue(tasks.logs_and_progresses)
    monkeypatch.setattr(logging.getLogger(), "handlers", [LogHandler("INFO")])
    runner = one_runner()

    with refusing("jobs_log", "INSERT OR UPDATE", f"NEW.job_id = '{bad.pk}'", "57014"):
        runner.step_until(lambda: not Job.objects.filter(finished_at=None).exists())

    assert {job.state for job in Job.objects.all()} == {"failed"}
    assert list(AttemptLog.objects.values_list("job_id", flat=True)) == [good.pk]
    refusal = Refusal.objects.get()
    assert (refusal.subject, refusal.key) == ("log", str(bad.pk))


def test_progress_that_is_refused_costs_one_jobs_progress(one_runner: MakeRunner) -> None:
    bad, good = enqueue(tasks.progresses_for, 1.5), enqueue(tasks.progresses_for, 1.5)
    runner = one_runner()
    condition = f"NEW.id = '{bad.pk}' AND NEW.progress_done IS DISTINCT FROM OLD.progress_done"

    with refusing("jobs_job", "UPDATE", condition, "40001"):
        runner.step_until(lambda: Job.objects.filter(pk=good.pk, progress_done=1).exists())
        runner.step_until(lambda: not Job.objects.filter(finished_at=None).exists())

    assert {job.state for job in Job.objects.all()} == {"succeeded"}
    assert Refusal.objects.get().subject == "progress"


def test_nothing_that_is_refused_is_quoted_in_the_log(
    one_runner: MakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    enqueue(tasks.add, 4_111_111_111)
    runner = one_runner()
    with django_connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE jobs_job ADD CONSTRAINT own CHECK (state <> 'succeeded') NOT VALID"
        )
    try:
        runner.step_until(lambda: Job.objects.filter(state="failed").exists())
    finally:
        with django_connection.cursor() as cursor:
            cursor.execute("ALTER TABLE jobs_job DROP CONSTRAINT own")

    assert "23514" in caplog.text
    assert "4111111" not in caplog.text
    assert "4111111" not in Refusal.objects.get().message


@pytest.mark.slow
def test_two_rows_that_cannot_end_stop_neither_runner_of_a_worker(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    bad = [enqueue(tasks.boom).pk, enqueue(tasks.boom).pk]
    condition = f"NEW.job_id = ANY ('{{{bad[0]},{bad[1]}}}')"
    with refusing("jobs_attempt", "INSERT", condition):
        worker = start_worker("--processes", "2").until_ready()
        eventually(lambda: Job.objects.filter(pk__in=bad, state="failed").count() == 2)
        began = time.monotonic()
        good = enqueue_many(tasks.noop, [()] * 200)
        eventually(lambda: Job.objects.filter(pk__in=good, state="succeeded").count() == 200)
        took = time.monotonic() - began
    assert took < 10
    assert worker.stop() == 0


@pytest.mark.slow
def test_a_worker_that_stops_does_not_wait_for_what_is_refused(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    job = enqueue(tasks.noop)
    with refusing("jobs_job", "UPDATE", "OLD.state = 'running' AND NEW.state <> 'queued'"):
        worker = start_worker("--processes", "1", "--grace-period", "30").until_ready()
        eventually(Refusal.objects.exists)
        began = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - began < 15
    job.refresh()
    # Given back, and charged to no job.
    assert (job.state, job.losses) == ("queued", 0)
