"""Each verb on real rows: what it changes, and what it refuses."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import psycopg
import pytest
from django.db import IntegrityError, transaction
from django.db import connection as django
from django.db.models.functions import Now
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from jobs import enqueue, enqueue_many, ids, lifecycle
from jobs.errors import InvalidTransition
from jobs.lifecycle import START, Claimed, Ended, Lane, Place
from jobs.models import Attempt, Claim, Job, State, Worker
from jobs.outcomes import (
    Cancelled,
    Failed,
    Problem,
    Released,
    Retried,
    Snoozed,
    Succeeded,
)
from jobs.testing import make_job
from jobs.worker.sweeper import Sweeper
from tests import tasks

Claim_ = Callable[..., list[Claimed]]
Connection = psycopg.Connection[Any]
PROBLEM = Problem("builtins.ValueError", "boom", "Traceback …")


def record(connection: Connection, job: Claimed, outcome: Any) -> set[str]:
    job.started_at, job.finished_at = job.now() - 1, job.now()
    return lifecycle.record(connection, [Ended(job, outcome)]).recorded()


def prepared_inserts() -> int:
    with django.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_prepared_statements "
            "WHERE statement LIKE '%INSERT INTO jobs_job%'"
        )
        return int(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_a_connection_prepares_its_inserts_once_it_has_seen_a_few() -> None:
    django.close()
    made = [enqueue(tasks.add, i) for i in range(5)]
    assert prepared_inserts() == 0
    with transaction.atomic():
        made += [enqueue(tasks.add, i) for i in range(5, 10)]

    assert prepared_inserts() == 1
    assert [Job.objects.get(pk=job.pk).args for job in made] == [[i] for i in range(10)]
    for job in (made[0], made[-1]):
        kept = Job.objects.get(pk=job.pk)
        assert (job.run_at, job.enqueued_at) == (kept.run_at, kept.enqueued_at)


@pytest.mark.django_db(transaction=True)
def test_an_insert_survives_that_somebody_discards_what_is_prepared() -> None:
    for _ in range(7):
        enqueue(tasks.noop)
    with django.cursor() as cursor:
        cursor.execute("DISCARD ALL")

    for _ in range(3):
        enqueue(tasks.noop)

    assert Job.objects.count() == 10


@pytest.mark.django_db(transaction=True)
def test_a_cursor_that_somebody_has_replaced_is_used() -> None:
    for _ in range(7):
        enqueue(tasks.noop)
    replaced = mock.patch.object(django, "cursor", side_effect=AssertionError("no queries here"))
    with replaced, pytest.raises(AssertionError, match="no queries here"):
        enqueue(tasks.noop)


@pytest.mark.django_db(transaction=True)
def test_behind_a_pooler_no_insert_is_prepared(settings: Any) -> None:
    django.close()
    with mock.patch.dict(django.settings_dict, DISABLE_SERVER_SIDE_CURSORS=True):
        for _ in range(10):
            enqueue(tasks.noop)
    settings.JOBS = {"TRANSACTION_POOLING": True}
    for _ in range(10):
        enqueue(tasks.noop)

    assert prepared_inserts() == 0


@pytest.mark.django_db(transaction=True)
def test_a_prepared_insert_behaves_as_any_query_of_django() -> None:
    for _ in range(6):
        job = enqueue(tasks.noop)
    assert django.queries == []
    with CaptureQueriesContext(django) as captured:
        enqueue(tasks.noop)
    with (
        mock.patch("jobs.ids.uuid7", return_value=job.pk),
        pytest.raises(IntegrityError, match="jobs_job_pkey"),
    ):
        enqueue(tasks.noop)
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(TransactionManagementError):
            enqueue(tasks.noop)

    assert len(captured) == 1
    assert Job.objects.count() == 7


def test_a_claim_takes_priority_first_then_the_longest_due(claim: Claim_) -> None:
    low = tasks.noop.using(priority=-5).enqueue()
    first, second = enqueue(tasks.noop), enqueue(tasks.noop)
    high = tasks.noop.using(priority=5).enqueue()
    Job.objects.filter(pk=second.pk).update(run_at=Now() - timedelta(hours=1))

    taken = [job.id for job in claim(10)]

    assert taken == [str(job.pk) for job in (high, second, first, low)]


def test_a_claim_takes_no_more_than_was_asked_over_all_lanes(claim: Claim_) -> None:
    for priority in (0, 1, 2):
        tasks.noop.using(priority=priority).enqueue_many([()] * 5)

    assert len(claim(4)) == 4
    assert Job.objects.filter(state=State.RUNNING).count() == 4


def test_a_claimed_job_runs_and_its_claim_is_a_row(connection: Connection, claim: Claim_) -> None:
    job = enqueue(tasks.add, 1, b=2)

    (claimed,) = claim()

    job.refresh()
    assert (job.state, job.attempt, job.claimable, job.worker) == ("running", 1, False, "test/1")
    assert str(job.claim) == claimed.claim
    assert Claim.objects.get().ids == [job.pk]
    assert claimed.arguments == '{"args": [1], "kwargs": {"b": 2}}'
    assert abs(claimed.now() - job.last_attempted_at.timestamp()) < 5  # type: ignore[union-attr]


def test_future_jobs_and_paused_queues_are_not_claimed(claim: Claim_) -> None:
    tasks.noop.using(run_after=timedelta(hours=1)).enqueue()
    job = tasks.noop.using(queue_name="mail").enqueue()
    lifecycle.pause("mail", by="ada")

    assert claim(10) == []
    lifecycle.resume("mail")
    assert [one.id for one in claim(10)] == [str(job.pk)]


def test_a_queue_that_is_paused_between_look_and_claim_is_not_claimed(
    connection: Connection,
) -> None:
    enqueue(tasks.noop)
    lanes = list(lifecycle.look(connection).first)
    lifecycle.pause("default")

    reply = lifecycle.claim(
        connection, dict.fromkeys(lanes, START), 1, claim_id=ids.uuid7(), worker="w",
        worker_id=ids.uuid7(), runner=ids.uuid7(),
    )  # fmt: skip

    assert lanes == [Lane("default", 0)]
    assert reply.read().jobs == []
    assert not Claim.objects.exists()


def test_a_claim_starts_at_its_mark_and_tells_how_far_it_came(
    connection: Connection, claim_from: Callable[..., lifecycle.Brought]
) -> None:
    first, second, third = enqueue_many(tasks.noop, [()] * 3)
    (lane,) = lifecycle.look(connection).first
    start = lifecycle.look(connection).first[lane]

    # All three have one moment, exactly: the id decides.
    brought = claim_from({lane: Place(start.run_at, str(second))}, 1)

    assert start.id == str(first)
    assert [job.id for job in brought.jobs] == [str(second)]
    assert brought.reached == {lane: Place(start.run_at, str(second))}
    assert [job.id for job in claim_from(brought.reached, 5).jobs] == [str(third)]


def test_a_glance_sees_what_came_since_a_moment(connection: Connection) -> None:
    enqueue(tasks.noop)
    Job.objects.update(run_at=Now() - timedelta(minutes=1))
    late = enqueue(tasks.noop)
    lane = Lane("default", 0)
    now = lifecycle.look(connection).at

    assert lifecycle.glance(connection, {lane: now - 5}).first[lane].id == str(late.pk)
    assert lifecycle.glance(connection, {lane: now + 5}).first == {}
    assert lifecycle.glance(connection, {Lane("default", 1): 0.0}).first == {}
    lifecycle.pause("default")
    assert lifecycle.glance(connection, {lane: now - 5}).first == {}


def test_success_keeps_result_and_times(connection: Connection, claim: Claim_) -> None:
    job = enqueue(tasks.noop)

    assert record(connection, claim()[0], Succeeded('{"a": 1}')) == {str(job.pk)}

    job.refresh()
    assert (job.state, job.status, job.return_value) == ("succeeded", "SUCCESSFUL", {"a": 1})
    assert job.finished_at is not None
    assert job.started_at is not None
    assert 0.9 < (job.finished_at - job.started_at).total_seconds() < 1.1
    assert not Attempt.objects.exists()


def test_failure_keeps_its_attempt_and_its_reason(connection: Connection, claim: Claim_) -> None:
    job = enqueue(tasks.noop)

    record(connection, claim()[0], Failed(PROBLEM, "timeout"))

    job.refresh()
    assert (job.state, job.failures, job.reason) == ("failed", 1, "timeout")
    assert job.failed_at == job.finished_at
    (attempt,) = job.errors
    assert (attempt.attempt, attempt.outcome, attempt.message) == (1, "failed", "boom")
    assert attempt.exception_class is ValueError
    with pytest.raises(ValueError, match="Task failed"):
        _ = job.return_value


def test_a_retry_is_queued_again_later_and_counts(connection: Connection, claim: Claim_) -> None:
    job = enqueue(tasks.noop)

    record(connection, claim()[0], Retried(PROBLEM, timedelta(minutes=5)))

    job.refresh()
    assert (job.state, job.failures, job.claimable) == ("queued", 1, True)
    assert job in Job.objects.retrying()
    assert job in Job.objects.scheduled()
    assert claim() == []


def test_a_snooze_counts_nothing_but_the_claim(connection: Connection, claim: Claim_) -> None:
    job = enqueue(tasks.noop)

    record(connection, claim()[0], Snoozed(timedelta(0)))

    job.refresh()
    assert (job.state, job.attempt, job.failures, job.losses) == ("queued", 1, 0, 0)


def test_a_released_job_is_as_if_it_had_never_been_claimed(
    connection: Connection, claim: Claim_
) -> None:
    job = enqueue(tasks.noop)

    record(connection, claim()[0], Released())

    job.refresh()
    assert (job.state, job.failures, job.losses) == ("queued", 0, 0)
    assert not Attempt.objects.exists()
    assert claim()[0].attempt == 2


@pytest.mark.parametrize("is_lost", [False, True])
def test_what_is_given_back_keeps_its_place(
    connection: Connection, claim: Claim_, is_lost: bool
) -> None:
    """Else a job that is prefetched and given back, again and again, would never start."""
    first, second = enqueue(tasks.noop), enqueue(tasks.noop)
    (claimed,) = claim()

    if is_lost:
        lifecycle.give_back(connection, claimed.claim, note="killed", charged=True)
    else:
        record(connection, claimed, Released())

    assert [job.id for job in claim(2)] == [str(first.pk), str(second.pk)]


def test_a_cancelled_outcome_is_final(connection: Connection, claim: Claim_) -> None:
    job = enqueue(tasks.noop)

    record(connection, claim()[0], Cancelled(PROBLEM))

    job.refresh()
    assert (job.state, job.reason) == ("cancelled", "cancelled")


def test_whoever_lost_the_claim_writes_nothing(connection: Connection, claim: Claim_) -> None:
    job = enqueue(tasks.noop)
    (zombie,) = claim()
    lifecycle.give_back(connection, zombie.claim, note="silent", charged=True)
    (successor,) = claim()

    for outcome in (Succeeded('"zombie"'), Failed(PROBLEM), Released()):
        assert record(connection, zombie, outcome) == set()
    found = lifecycle.unrecorded(connection, [Ended(zombie, Succeeded())])

    job.refresh()
    assert (job.state, job.attempt, str(job.claim)) == ("running", 2, successor.claim)
    assert found.lost
    assert not found.later


def test_whoever_lost_the_claim_is_told_although_nobody_has_claimed_the_job_since(
    connection: Connection, claim: Claim_
) -> None:
    enqueue(tasks.noop)
    (zombie,) = claim()
    lifecycle.give_back(connection, zombie.claim, note="silent", charged=True)

    found = lifecycle.unrecorded(connection, [Ended(zombie, Succeeded())])

    assert [ended.job.id for ended in found.lost] == [zombie.id]


@pytest.mark.parametrize("outcome", [Succeeded(), Failed(PROBLEM)])
def test_a_record_whose_reply_was_lost_is_recognised_as_done(
    connection: Connection, claim: Claim_, outcome: Any
) -> None:
    job = enqueue(tasks.noop)
    (claimed,) = claim()
    record(connection, claimed, outcome)

    found = lifecycle.unrecorded(connection, [Ended(claimed, outcome)])

    assert record(connection, claimed, outcome) == set()
    assert found == ([], [])
    failures = int(isinstance(outcome, Failed))
    assert (Job.objects.get(pk=job.pk).failures, Attempt.objects.count()) == (failures, failures)


def test_a_row_that_somebody_holds_does_not_hold_up_its_batch(
    connection: Connection, connect: Callable[[], Connection], claim: Claim_
) -> None:
    enqueue_many(tasks.noop, [(), ()])
    held, free = claim(2)
    somebody = connect()
    with somebody.transaction():
        somebody.execute("SELECT 1 FROM jobs_job WHERE id = %s FOR UPDATE", (held.id,))

        batch = [Ended(held, Succeeded()), Ended(free, Succeeded())]
        recorded = lifecycle.record(connection, batch).recorded()
        found = lifecycle.unrecorded(connection, [Ended(held, Succeeded())])

    assert recorded == {free.id}
    assert [ended.job.id for ended in found.later] == [held.id]


def test_a_loss_is_charged_to_what_had_started_only(connection: Connection, claim: Claim_) -> None:
    enqueue_many(tasks.noop, [(), ()])
    started, waiting = claim(2)

    rescued = lifecycle.give_back(
        connection, started.claim, note="was killed", charged=True, started={started.id}
    )

    assert {(job.id, job.state, job.charged) for job in rescued} == {
        (started.id, "queued", True),
        (waiting.id, "queued", False),
    }
    assert Job.objects.get(pk=started.id).losses == 1
    assert Job.objects.get(pk=waiting.id).losses == 0
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.message) == ("lost", "was killed")
    assert not Claim.objects.exists()


def test_a_job_that_loses_its_process_too_often_fails(
    connection: Connection, claim: Claim_
) -> None:
    job = enqueue(tasks.noop)
    for _ in range(4):
        (claimed,) = claim()
        lifecycle.give_back(connection, claimed.claim, note="was killed", charged=True)

    job.refresh()
    assert (job.state, job.reason, job.losses, job.attempt) == ("failed", "lost", 4, 4)
    assert len(job.errors) == 4


def test_max_losses_zero_means_at_most_once(connection: Connection, claim: Claim_) -> None:
    job = enqueue(tasks.dies_at_most_once)
    (claimed,) = claim()

    lifecycle.give_back(connection, claimed.claim, note="was killed", charged=True)

    job.refresh()
    assert (job.state, job.reason) == ("failed", "lost")


def test_give_back_is_idempotent(connection: Connection, claim: Claim_) -> None:
    enqueue(tasks.noop)
    (claimed,) = claim()

    first = lifecycle.give_back(connection, claimed.claim, note="", charged=True)
    second = lifecycle.give_back(connection, claimed.claim, note="", charged=True)

    assert len(first) == 1
    assert second == []


def test_a_locked_row_keeps_its_claim_until_it_can_be_given_back(
    connection: Connection, connect: Callable[[], Connection], claim: Claim_
) -> None:
    enqueue(tasks.noop)
    (claimed,) = claim()
    somebody = connect()
    with somebody.transaction():
        somebody.execute("SELECT 1 FROM jobs_job FOR UPDATE")
        assert lifecycle.give_back(connection, claimed.claim, note="", charged=True) == []
        assert Claim.objects.exists()

    assert lifecycle.give_back(connection, claimed.claim, note="", charged=True)
    assert not Claim.objects.exists()


def test_running_jobs_without_the_row_of_a_claim_are_found_and_given_back(
    connection: Connection, claim: Claim_
) -> None:
    enqueue_many(tasks.noop, [()] * 5)
    jobs = [*claim(2), *claim(3)]
    Claim.objects.all().delete()
    # Their worker lives, and runs them.
    last, found = lifecycle.adopt(connection, lifecycle.FIRST, 3)
    assert (last, found) == (sorted(job.id for job in jobs)[2], 0)

    Worker.objects.all().delete()
    assert lifecycle.adopt(connection, lifecycle.FIRST, 100)[1] == 5
    assert lifecycle.adopt(connection, last, 100)[1] == 0
    assert lifecycle.adopt(connection, jobs[-1].id, 100) == (None, 0)
    orphans = lifecycle.orphans(connection, ids.uuid7(), [])
    assert {orphan.claim for orphan in orphans} == {job.claim for job in jobs}
    for orphan in orphans:
        lifecycle.give_back(connection, orphan.claim, charged=True, note="")
    assert set(Job.objects.values_list("state", "losses")) == {("queued", 1)}
    assert not Claim.objects.exists()


def test_the_sweep_goes_over_all_jobs_in_parts(connection: Connection, claim: Claim_) -> None:
    enqueue_many(tasks.noop, [()] * 7)
    claim(7)
    Claim.objects.all().delete()
    Worker.objects.all().delete()
    sweeper = Sweeper()
    with (
        mock.patch("jobs.worker.sweeper._PART", 3),
        mock.patch("jobs.worker.sweeper._PAUSE", 0),
        mock.patch("jobs.worker.sweeper.time.monotonic", return_value=time.monotonic() + 100),
    ):
        for _ in range(3):
            sweeper.step(connection)
    # They were claimed at once, and so are one claim's again.
    assert len(set(Claim.objects.get().ids)) == 7


def test_claims_without_a_living_owner_are_orphans(connection: Connection, claim: Claim_) -> None:
    enqueue(tasks.noop)
    (claimed,) = claim()
    assert lifecycle.orphans(connection, ids.uuid7(), []) == []
    Worker.objects.all().delete()

    orphans = lifecycle.orphans(connection, ids.uuid7(), [])

    assert [(one.claim, one.worker_is_gone) for one in orphans] == [(claimed.claim, True)]


def test_a_claim_whose_reply_was_lost_is_a_stray_of_its_runner(
    connection: Connection, claim: Claim_
) -> None:
    runner = ids.uuid7()
    enqueue_many(tasks.noop, [(), ()])
    known, unknown = claim(runner=runner)[0], claim(runner=runner)[0]

    assert lifecycle.strays(connection, runner, [known.claim]) == [unknown.claim]


@pytest.mark.django_db
def test_cancel_of_a_queued_job_is_final_at_once() -> None:
    job = enqueue(tasks.noop)

    assert job.cancel(by="ada", because="no need") is True

    assert (job.state, job.reason, job.cancelled_by) == ("cancelled", "cancelled", "ada")
    assert job.cancelled_because == "no need"
    assert job.cancel() is False


@pytest.mark.django_db
def test_a_waiting_job_that_is_cancelled_waits_no_more() -> None:
    job = make_job(state="waiting")
    assert [job] == list(Job.objects.waiting())

    assert job.cancel()
    assert not Job.objects.waiting().exists()


def test_cancel_of_a_running_job_is_asked_of_its_runner(
    connection: Connection, claim: Claim_
) -> None:
    job = enqueue(tasks.noop)
    (claimed,) = claim()

    assert job.cancel(by="ada") is True

    assert job.state == "running"
    assert lifecycle.cancel_requests(connection, [claimed.claim]) == [str(job.pk)]
    assert lifecycle.cancel_requests(connection, [str(ids.uuid7())]) == []


@pytest.mark.parametrize("outcome", [Retried(PROBLEM, timedelta(0)), Released()])
def test_what_would_run_again_is_cancelled_when_that_was_asked_for(
    connection: Connection, claim: Claim_, outcome: Any
) -> None:
    job = enqueue(tasks.noop)
    (claimed,) = claim()
    job.cancel()

    record(connection, claimed, outcome)

    job.refresh()
    assert (job.state, job.reason) == ("cancelled", "cancelled")
    assert job.finished_at is not None
    assert abs((job.finished_at - job.enqueued_at).total_seconds()) < 60


def test_a_released_job_that_was_to_be_cancelled_has_a_moment_of_its_end(
    connection: Connection, claim: Claim_
) -> None:
    job = enqueue(tasks.noop)
    (claimed,) = claim()
    job.cancel()

    lifecycle.record(connection, [Ended(claimed, Released())])

    job.refresh()
    assert job.finished_at is not None
    assert abs((job.finished_at - job.enqueued_at).total_seconds()) < 60


def test_what_must_run_at_most_once_is_not_given_back_once_it_has_started(
    connection: Connection, claim: Claim_
) -> None:
    enqueue_many(tasks.at_most_once, [(), ()])
    started, waiting = claim(2)

    lifecycle.give_back(
        connection, started.claim, note="grace", charged=False, started=[started.id]
    )

    assert Job.objects.get(pk=started.id).state == "failed"
    assert Job.objects.get(pk=waiting.id).state == "queued"


def test_a_lost_job_that_was_to_be_cancelled_is_cancelled(
    connection: Connection, claim: Claim_
) -> None:
    job = enqueue(tasks.noop)
    (claimed,) = claim()
    job.cancel()

    lifecycle.give_back(connection, claimed.claim, note="was killed", charged=True)

    job.refresh()
    assert job.state == "cancelled"


def test_retry_forgets_failures_and_keeps_attempts(connection: Connection, claim: Claim_) -> None:
    job = tasks.noop.using(expires_after=timedelta(hours=1), max_attempts=1).enqueue()
    record(connection, claim()[0], Failed(PROBLEM))
    job.refresh()

    job.retry()

    assert (job.state, job.failures, job.attempt, job.expires_at) == ("queued", 0, 1, None)
    assert len(job.errors) == 1
    record(connection, claim()[0], Failed(PROBLEM))
    assert [error.attempt for error in job.errors] == [1, 2]


def test_only_what_failed_or_was_cancelled_can_be_retried(claim: Claim_) -> None:
    job = enqueue(tasks.noop)

    with pytest.raises(InvalidTransition, match="is queued; only a failed or cancelled"):
        job.retry()
    claim()
    with pytest.raises(InvalidTransition, match="is running"):
        job.retry()


def test_progress_is_written_for_the_claims_own_jobs_only(
    connection: Connection, claim: Claim_
) -> None:
    job = enqueue(tasks.noop)
    (claimed,) = claim()
    lifecycle.write_progress(connection, [lifecycle.Told(claimed, 3, 10, "rows")])
    claimed.claim = str(ids.uuid7())
    lifecycle.write_progress(connection, [lifecycle.Told(claimed, 9, 10, "zombie")])

    job.refresh()
    assert job.progress is not None
    assert (job.progress.percent, str(job.progress)) == (30.0, "3 of 10 rows")


def test_an_enqueue_notifies_only_while_somebody_sleeps(connection: Connection) -> None:
    from jobs.worker import Options, presence
    from jobs.worker.options import Identity

    identity = Identity(ids.uuid7(), "w/1")
    connection.execute("LISTEN jobs")
    presence.register(connection, identity.worker_id, Options(queues=("mail",)), [identity.runner])

    def heard() -> list[str]:
        return [one.payload for one in connection.notifies(timeout=0.05)]

    tasks.noop.using(queue_name="mail").enqueue()
    assert heard() == []
    presence.say_idle(connection, identity, idle=True)
    enqueue(tasks.noop)
    assert heard() == []
    tasks.noop.using(queue_name="mail", run_after=timedelta(hours=1)).enqueue()
    assert heard() == []
    tasks.noop.using(queue_name="mail").enqueue()
    assert heard() == ["mail"]
    presence.say_idle(connection, identity, idle=False)
    tasks.noop.using(queue_name="mail").enqueue()
    assert heard() == []
