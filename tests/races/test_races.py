"""Two connections, step by step: what one does while the other is in the middle."""

import importlib
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import connection as django
from django.db import transaction

from jobs import enqueue, enqueue_many, lifecycle
from jobs.lifecycle import Claimed, Ended
from jobs.models import Job
from jobs.outcomes import Failed, Problem, Succeeded
from tests import tasks
from tests.eventually import eventually

Connection = psycopg.Connection[Any]
Connect = Callable[[], Connection]
Claim = Callable[..., list[Claimed]]


def test_two_claims_at_once_never_share_a_job(connect: Connect, claim: Claim) -> None:
    enqueue_many(tasks.noop, [()] * 10)
    one, two = connect(), connect()

    with one.transaction():
        first = claim(4, on=one)
        second = claim(10, on=two)

    assert len(first) == 4
    assert len(second) == 6
    assert not {job.id for job in first} & {job.id for job in second}


def test_many_claimers_take_every_job_once(connect: Connect, claim: Claim) -> None:
    made = enqueue_many(tasks.noop, [()] * 2000)
    taken: list[str] = []

    def work(own: Connection) -> None:
        while jobs := claim(7, on=own):
            taken.extend(job.id for job in jobs)

    threads = [threading.Thread(target=work, args=(connect(),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(taken) == len(set(taken))
    # A claim may come back empty while others hold the rest: what is left, one takes.
    taken += [job.id for job in claim(2000)]
    assert sorted(taken) == sorted(str(pk) for pk in made)


def test_a_finish_before_a_rescue_wins(connect: Connect, claim: Claim) -> None:
    job = enqueue(tasks.noop)
    (claimed,) = claim()
    runner, rescuer = connect(), connect()

    with runner.transaction():
        lifecycle.record(runner, [Ended(claimed, Succeeded())])
        assert lifecycle.give_back(rescuer, claimed.claim, note="", charged=True) == []
    assert lifecycle.give_back(rescuer, claimed.claim, note="", charged=True) == []

    job.refresh()
    assert (job.state, job.losses) == ("succeeded", 0)


def test_a_rescue_before_a_finish_wins(connect: Connect, claim: Claim) -> None:
    job = enqueue(tasks.noop)
    (claimed,) = claim()
    runner, rescuer = connect(), connect()

    with rescuer.transaction():
        assert lifecycle.give_back(rescuer, claimed.claim, note="", charged=True)
        during = lifecycle.record(runner, [Ended(claimed, Succeeded())]).recorded()
    after = lifecycle.record(runner, [Ended(claimed, Succeeded())]).recorded()

    job.refresh()
    assert during == after == set()
    assert (job.state, job.losses) == ("queued", 1)


def test_two_rescuers_charge_a_loss_once(connect: Connect, claim: Claim) -> None:
    job = enqueue(tasks.noop)
    (claimed,) = claim()
    one, two = connect(), connect()

    with one.transaction():
        first = lifecycle.give_back(one, claimed.claim, note="", charged=True)
        second = lifecycle.give_back(two, claimed.claim, note="", charged=True)

    job.refresh()
    assert len(first) == 1
    assert second == []
    assert job.losses == 1


@pytest.mark.parametrize("is_claimed_first", [True, False])
def test_a_cancel_and_a_claim_agree_on_who_was_first(
    connect: Connect, claim: Claim, is_claimed_first: bool
) -> None:
    job = enqueue(tasks.noop)
    runner = connect()
    done = threading.Event()
    backends: list[int] = []

    def cancel() -> None:
        django.ensure_connection()
        backends.append(django.connection.info.backend_pid)
        job.cancel()
        done.set()
        django.close()

    if is_claimed_first:
        with runner.transaction():
            assert claim(on=runner)
            thread = threading.Thread(target=cancel)
            thread.start()
            # It waits for the row; were it not to, the job would be cancelled and run.
            eventually(lambda: backends and is_blocked(backends[0]))
            assert not done.is_set()
        thread.join()
        job.refresh()
        assert job.state == "running"
        assert job.cancel_requested_at is not None
    else:
        cancel()
        assert claim(on=runner) == []


def test_a_job_is_claimed_only_after_its_transaction_commits(
    connect: Connect, claim: Claim
) -> None:
    with transaction.atomic():
        job = enqueue(tasks.noop)
        assert claim() == []

    eventually(lambda: Job.objects.filter(pk=job.pk).exists())
    assert [one.id for one in claim()] == [str(job.pk)]


def test_a_pause_that_is_not_committed_yet_does_not_hold_up_a_claim(
    connect: Connect, claim: Claim
) -> None:
    enqueue(tasks.noop)
    lifecycle.pause("other")
    operator = connect()

    with operator.transaction():
        operator.execute("INSERT INTO jobs_queue (name, paused_at) VALUES ('default', now())")
        assert len(claim()) == 1


def test_a_retry_and_a_deletion_agree_on_who_was_first(connect: Connect, claim: Claim) -> None:
    """Whoever prunes must not take away what somebody has just queued again."""
    job = enqueue(tasks.noop)
    (claimed,) = claim()
    claimed.started_at = claimed.finished_at = claimed.now()
    lifecycle.record(connect(), [Ended(claimed, Failed(Problem("a.B", "c", "")))])
    pruner = connect()
    deleted: list[int] = []

    def prune() -> None:
        cursor = pruner.execute(
            "DELETE FROM jobs_job WHERE id = %s AND finished_at IS NOT NULL", [job.pk]
        )
        deleted.append(cursor.rowcount)

    with transaction.atomic():
        Job.objects.get(pk=job.pk).retry()
        thread = threading.Thread(target=prune)
        thread.start()
        eventually(lambda: is_waiting(pruner))
    thread.join()

    assert deleted == [0]
    assert Job.objects.get(pk=job.pk).state == "queued"


def is_waiting(other: Connection) -> bool:
    """Whether that session waits for a lock."""
    return is_blocked(other.info.backend_pid)


def is_blocked(backend: int) -> bool:
    with django.cursor() as cursor:
        cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [backend])
        return bool(cursor.fetchone()[0])


@pytest.mark.parametrize("verb", ["rescue", "settle"])
def test_a_row_that_changes_between_snapshot_and_lock_is_left_whole_for_the_next_time(
    connect: Connect, claim: Claim, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """As when somebody cancels a job just as its process dies, or its attempt fails."""
    job = enqueue(tasks.noop)
    (claimed,) = claim()
    claimed.started_at = claimed.finished_at = claimed.now()
    own = connect()
    module = "rescue" if verb == "rescue" else "record"
    source = importlib.import_module(f"jobs.lifecycle.{module}")
    real = source.statement

    def waits(name: str) -> Any:
        # Behind the snapshot, and before the rows are locked.
        inner = {"rescue": "ORDER BY member.id", "settle": "ORDER BY id"}
        text = real(name)
        return (
            text.replace(inner[name], f"{inner[name]}, pg_sleep(0.5)::text")
            if name == verb
            else text
        )

    def once() -> None:
        if verb == "rescue":
            lifecycle.give_back(own, claimed.claim, note="killed", charged=True)
        else:
            problem = Problem("a.B", "c", "")
            lifecycle.record(own, [Ended(claimed, Failed(problem))]).recorded()

    monkeypatch.setattr(source, "statement", waits)
    thread = threading.Thread(target=once)
    thread.start()
    eventually(lambda: is_active(own))
    job.cancel()
    thread.join()
    monkeypatch.setattr(source, "statement", real)
    once()

    job.refresh()
    assert job.state == ("cancelled" if verb == "rescue" else "failed")
    assert [error.attempt for error in job.errors] == [1]


def is_active(other: Connection) -> bool:
    """Whether that session sleeps in the middle of a statement."""
    with django.cursor() as cursor:
        cursor.execute(
            "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s",
            [other.info.backend_pid],
        )
        return bool(cursor.fetchone()[0])


def test_what_one_supervisor_puts_off_while_another_sees_the_pause_end_comes_back(
    connect: Connect,
) -> None:
    """A statement that began before the resume commits after it: its jobs are known by the pause's
    row alone, which is therefore kept for a while."""
    job = enqueue(tasks.noop)
    slow, other = connect(), connect()
    lifecycle.pause_task(tasks.noop.name)
    with slow.transaction():
        assert lifecycle.park(slow) == 1
        lifecycle.resume_task(tasks.noop.name)
        assert lifecycle.park(other) == 0
    assert not Job.objects.ready().exists()

    assert lifecycle.park(other) == 1

    assert Job.objects.ready().get().pk == job.pk
