"""Pauses: of a queue and of a task, until somebody resumes it or for a while."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.contrib.admin.models import LogEntry
from django.db import IntegrityError
from django.db import connection as django
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from jobs import enqueue, enqueue_many, lifecycle
from jobs.lifecycle import Claimed, Lane
from jobs.models import Job, PausedTask, Queue, Refusal, Worker
from jobs.testing import make_job
from tests import tasks
from tests.eventually import eventually
from tests.refusing import refusing
from tests.test_admin import client_with, page, user_with
from tests.workers import WorkerProcess

Claim_ = Callable[..., list[Claimed]]
Connection = psycopg.Connection[Any]
NOOP, PLAIN = "tests.tasks.noop", "tests.tasks.plain"


def end_pauses() -> None:
    """As if their time were over, and with it that to which they put jobs off."""
    Queue.objects.update(paused_until=Now() - timedelta(seconds=1))
    PausedTask.objects.update(paused_until=Now() - timedelta(seconds=1))


def test_a_queue_is_paused_for_a_while_and_says_why(connection: Connection, claim: Claim_) -> None:
    job = enqueue(tasks.noop)
    until = job.run_at + timedelta(hours=1)

    lifecycle.pause("default", by="ada", because="the bank is down", until=until)

    queue = Queue.objects.get()
    assert (queue.paused_by, queue.paused_because, queue.paused_until, queue.is_paused) == (
        "ada", "the bank is down", until, True,
    )  # fmt: skip
    assert list(Queue.objects.paused()) == [queue]
    assert claim(1) == []
    assert lifecycle.look(connection).first == {}
    assert lifecycle.glance(connection, {Lane("default", 0): 0.0}).first == {}

    end_pauses()
    queue.refresh_from_db()
    assert not queue.is_paused
    assert not Queue.objects.paused().exists()
    assert list(lifecycle.glance(connection, {Lane("default", 0): 0.0}).first) == [("default", 0)]
    assert [one.id for one in claim(1)] == [str(job.pk)]


def test_resuming_a_queue_forgets_all_of_the_pause(db: None) -> None:
    lifecycle.pause("mail", by="ada", because="x", until=Job(task="x").enqueued_at)

    lifecycle.resume("mail")

    queue = Queue.objects.get()
    assert (queue.paused_at, queue.paused_by, queue.paused_because, queue.paused_until) == (
        None, "", "", None,
    )  # fmt: skip


def test_a_paused_tasks_jobs_are_not_claimed_in_any_queue_and_others_are(claim: Claim_) -> None:
    enqueue(tasks.noop)
    other = enqueue(tasks.plain, "a")
    tasks.noop.using(queue_name="mail", priority=5).enqueue()

    lifecycle.pause_task(NOOP, by="ada", because="it fails")

    assert [one.id for one in claim(10)] == [str(other.pk)]
    assert claim(10) == []


def test_what_stands_in_the_way_is_put_off_and_comes_back_in_its_order(
    connection: Connection, claim: Claim_
) -> None:
    first, second = enqueue_many(tasks.noop, [(), ()])
    other = enqueue(tasks.plain, "a")
    later = tasks.noop.using(run_after=timedelta(hours=1)).enqueue()
    lifecycle.pause_task(NOOP)

    assert lifecycle.park(connection) == 2

    parked = set(Job.objects.filter(pk__in=[first, second]).values_list("run_at", flat=True))
    assert parked == {PausedTask.objects.get().parked_until}
    assert lifecycle.look(connection).first[Lane("default", 0)].id == str(other.pk)
    assert lifecycle.park(connection) == 0
    assert PausedTask.objects.exists()

    assert lifecycle.resume_task(NOOP)
    assert lifecycle.park(connection) == 2
    assert [one.id for one in claim(1)] == [str(other.pk)]
    assert [one.id for one in claim(10)] == [str(first), str(second)]
    # Its own time was not touched.
    assert Job.objects.get(pk=later.pk).run_at == later.run_at
    # Another supervisor may still be putting jobs off by what it saw before.
    lifecycle.park(connection)
    assert PausedTask.objects.exists()
    PausedTask.objects.update(over_seen_at=Now() - timedelta(minutes=2))
    lifecycle.park(connection)
    assert not PausedTask.objects.exists()


def test_what_cannot_be_put_off_or_back_keeps_no_other(
    connection: Connection, claim: Claim_
) -> None:
    made = enqueue_many(tasks.noop, [()] * 20)
    lifecycle.pause_task(NOOP)
    with refusing("jobs_job", "UPDATE", f"NEW.id = '{made[7]}'"):
        assert lifecycle.park(connection) == 0
        # Nor does what stays let others wait.
        other = enqueue(tasks.plain, "a")
        assert [one.id for one in claim(1)] == [str(other.pk)]
    assert lifecycle.park(connection) == 20

    assert lifecycle.resume_task(NOOP)
    bad = [str(made[3]), str(made[11])]
    with refusing("jobs_job", "UPDATE", f"NEW.id IN ('{bad[0]}', '{bad[1]}')"):
        assert lifecycle.park(connection) == 18
        assert {refusal.key for refusal in Refusal.objects.all()} == set(bad)
        PausedTask.objects.update(over_seen_at=Now() - timedelta(minutes=2))
        lifecycle.park(connection)
    assert lifecycle.park(connection) == 2
    assert Job.objects.filter(run_at__lte=Now(), claimable=True).count() == 20


def test_a_pause_that_ends_by_itself_lets_its_jobs_go_and_is_forgotten(
    connection: Connection, claim: Claim_
) -> None:
    job = enqueue(tasks.noop)
    lifecycle.pause_task(NOOP, until=job.run_at + timedelta(hours=1))
    assert lifecycle.park(connection) == 1
    job.refresh()
    until = PausedTask.objects.get().paused_until
    # A moment later, which no other job is scheduled for.
    assert until is not None
    assert timedelta(0) < job.run_at - until < timedelta(seconds=1)

    # An hour passes.
    an_hour = timedelta(hours=1, minutes=1)
    Job.objects.update(run_at=F("run_at") - an_hour)
    PausedTask.objects.update(
        paused_until=F("paused_until") - an_hour, parked_until=F("parked_until") - an_hour
    )

    assert [one.id for one in claim(1)] == [str(job.pk)]
    PausedTask.objects.update(over_seen_at=Now() - timedelta(minutes=2))
    lifecycle.park(connection)
    assert not PausedTask.objects.exists()


def test_a_job_that_is_scheduled_for_the_end_of_a_pause_stays_so(
    connection: Connection, claim: Claim_
) -> None:
    job = tasks.noop.using(run_after=timedelta(hours=20)).enqueue()
    lifecycle.pause_task(NOOP, until=job.run_at)
    lifecycle.park(connection)
    lifecycle.resume_task(NOOP)

    assert lifecycle.park(connection) == 0
    assert claim(1) == []
    assert Job.objects.get().run_at == job.run_at


def test_a_pause_is_remembered_for_a_minute_after_it_was_seen_to_be_over(
    connection: Connection,
) -> None:
    """However late the transaction commits that has resumed it."""
    lifecycle.pause_task(NOOP)
    PausedTask.objects.update(paused_until=Now() - timedelta(hours=1))

    lifecycle.park(connection)
    assert PausedTask.objects.get().over_seen_at
    # Paused anew, it is a pause again.
    lifecycle.pause_task(NOOP)
    assert PausedTask.objects.get().over_seen_at is None


def test_endless_moments_are_refused(transactional_db: None) -> None:
    for told in (
        "INSERT INTO jobs_queue (name, paused_until) VALUES ('a', 'infinity')",
        "INSERT INTO jobs_paused_task (name, parked_until) VALUES ('a', 'infinity')",
    ):
        with django.cursor() as cursor, pytest.raises(IntegrityError, match="moments"):
            cursor.execute(told)


def test_a_pause_may_be_prolonged_and_knows_what_the_first_one_put_off(
    connection: Connection, claim: Claim_
) -> None:
    job = enqueue(tasks.noop)
    lifecycle.pause_task(NOOP, until=job.run_at + timedelta(hours=1))
    lifecycle.park(connection)
    before = PausedTask.objects.get().parked_until

    lifecycle.pause_task(NOOP)

    assert PausedTask.objects.get().parked_until == before
    # The first one's time comes, and the pause goes on.
    Job.objects.update(run_at=Now())
    PausedTask.objects.update(parked_until=Now())
    assert claim(1) == []
    assert lifecycle.park(connection) == 1
    assert PausedTask.objects.get().parked_until > before
    assert lifecycle.resume_task(NOOP)
    assert lifecycle.park(connection) == 1
    assert [one.id for one in claim(1)] == [str(job.pk)]


def test_resuming_what_is_not_paused_is_told(db: None) -> None:
    assert not lifecycle.resume_task(NOOP)
    lifecycle.pause_task(NOOP)
    assert lifecycle.resume_task(NOOP)
    assert not lifecycle.resume_task(NOOP)


def test_a_worker_runs_other_tasks_meanwhile_and_the_paused_one_afterwards(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    paused = enqueue_many(tasks.noop, [()] * 50)
    lifecycle.pause_task(NOOP)
    start_worker("--processes", "1", JOBS_TEST_HEARTBEAT="0.2")

    other = enqueue(tasks.plain, "a")
    eventually(lambda: Job.objects.get(pk=other.pk).is_finished)
    eventually(lambda: not Job.objects.ready().exists())
    assert Job.objects.queued().count() == len(paused)
    lifecycle.resume_task(NOOP)

    eventually(lambda: not Job.objects.queued().exists())
    # What it has done is told with its heartbeats.
    worker = eventually(lambda: Worker.objects.filter(ended=51).first())
    assert worker is not None
    assert worker.memory is None or worker.memory > 2**20


def test_a_burst_runs_what_was_put_off_and_is_due_again(
    connection: Connection, start_worker: Callable[..., WorkerProcess]
) -> None:
    made = enqueue_many(tasks.noop, [()] * (lifecycle.PART + 100))
    lifecycle.pause_task(NOOP)
    while lifecycle.park(connection) >= lifecycle.PART:
        pass
    assert not Job.objects.ready().exists()
    lifecycle.resume_task(NOOP)

    worker = start_worker("--burst", "--processes", "1")

    assert worker.process.wait(30) == 0
    assert Job.objects.succeeded().count() == len(made)


PAUSES = "/admin/jobs/pausedtask/"


def test_a_task_is_paused_and_resumed_on_pages_of_its_own(db: None) -> None:
    client = client_with("pause_task")

    text = page(client, f"{PAUSES}add/?task={NOOP}")
    assert f'value="{NOOP}"' in text
    assert '<option value="tests.tasks.add">' in text
    said = {"task": NOOP, "because": "it fails", "minutes": ""}
    refused = client.post(f"{PAUSES}add/", said | {"task": ""})
    assert "This field is required" in refused.content.decode()
    refused = client.post(f"{PAUSES}add/", said | {"task": "tests.tasks.nop"})
    assert "Do you mean tests.tasks.noop?" in refused.content.decode()
    client.post(f"{PAUSES}add/", said)

    task = PausedTask.objects.get()
    assert (task.paused_by, task.paused_because, task.paused_until, task.is_over) == (
        "ada", "it fails", None, False,
    )  # fmt: skip
    assert "it fails" in page(client, PAUSES)
    again = page(client, f"{PAUSES}add/?task={NOOP}")
    assert "Paused already, and to be paused anew:" in again
    assert f"{NOOP}: by ada · it fails" in again
    history = client.get(reverse("admin:jobs_pausedtask_history", args=[NOOP]))
    assert "Changed paused" in history.content.decode()
    client.post(PAUSES, {"action": "resume", "_selected_action": [NOOP]})
    assert "it fails" not in page(client, PAUSES)
    task.refresh_from_db()
    assert task.is_over
    assert LogEntry.objects.count() == 2


def test_pausing_takes_its_permission(db: None) -> None:
    client = client_with("view_pausedtask", "view_queue", "pause_queue")
    lifecycle.pause_task(PLAIN)

    assert client.get(f"{PAUSES}add/").status_code == 403
    assert client.post(f"{PAUSES}add/", {"task": NOOP}).status_code == 403
    client.post(PAUSES, {"action": "resume", "_selected_action": [PLAIN]})
    assert [task.is_over for task in PausedTask.objects.all()] == [False]


def test_the_overview_tells_of_pauses_and_offers_them(transactional_db: None) -> None:
    client = Client()
    client.force_login(user_with(name="grace", is_superuser=True))
    make_job(NOOP)
    lifecycle.pause("default", by="ada", because="the bank is down")
    lifecycle.pause_task(PLAIN, by="grace")

    text = page(client, "/admin/jobs/")

    assert "The queue default is paused, and 1 job waits in it. (by ada · the bank is down)" in text
    assert "The task tests.tasks.plain is paused. (by grace)" in text
    assert 'aria-label="Resume default"' in text
    # For who may see queues and pauses.
    few = page(client_with("view_job"), "/admin/jobs/")
    assert "the bank is down" not in few
    assert "is paused" not in few
    lifecycle.resume("default")
    lifecycle.resume_task(PLAIN)
    text = page(client, "/admin/jobs/")
    assert "is paused" not in text
    assert 'aria-label="Pause default…"' in text
