"""Jobs in another database than the site's own data: by JOBS, by a command, by a backend."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.checks import Error
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections, transaction
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from jobs import Job, compat, conf, enqueue, enqueue_many, enqueue_on_commit, task
from jobs.admin import known
from jobs.lifecycle import pause, pause_task
from jobs.models import Queue, Schedule, Worker
from jobs.testing import (
    assert_enqueued,
    assert_not_enqueued,
    immediate,
    make_job,
    run_beat,
    run_jobs,
    travel,
)
from tests import tasks
from tests.eventually import eventually
from tests.test_admin_schedules import EMPTY
from tests.workers import WorkerProcess

both = pytest.mark.django_db(databases=["default", "second"])
both_committed = pytest.mark.django_db(databases=["default", "second"], transaction=True)


@pytest.fixture
def elsewhere() -> Iterator[None]:
    with override_settings(JOBS={**settings.JOBS, "DATABASE": "second"}):
        yield


@contextlib.contextmanager
def no_query_of(alias: str) -> Iterator[None]:
    def refuse(execute: Any, sql: str, *_: Any) -> None:
        raise AssertionError(f"a query of {alias}: {sql}")

    with connections[alias].execute_wrapper(refuse):
        yield


@both
def test_every_tool_and_verb_keeps_to_the_database_that_jobs_names(elsewhere: None) -> None:
    with no_query_of("default"):
        job, bad = enqueue(tasks.add, 1), enqueue(tasks.boom)
        enqueue_many(tasks.noop, [()])
        assert len(run_jobs()) == 3
        with travel(timedelta(hours=1)), immediate():
            assert enqueue(tasks.add, 2).return_value == 3
        job.refresh()
        bad.refresh()
        bad.retry()
        assert bad.cancel(by="ada")
        pause("default")
        assert Queue.objects.using("second").get(name="default").paused_at
        assert_enqueued(tasks.add, times=2)
        assert make_job(state="failed").errors
        assert tasks.add.get_result(job.pk).return_value == 2

    assert not Job.objects.using("default").exists()
    assert Job.objects.count() == 5


@both
def test_schedules_live_there_too(elsewhere: None) -> None:
    hourly = {"hourly": {"task": "tests.tasks.noop", "schedule": "0 * * * *"}}
    jobs = {**settings.JOBS, "DATABASE": "second", "SCHEDULES": hourly}
    with override_settings(JOBS=jobs), no_query_of("default"):
        run_beat()
        with travel(timedelta(hours=1)):
            [job] = run_beat()

    assert job.task == tasks.noop.name
    assert Schedule.objects.using("second").get().runs == 1


@both
def test_the_admin_shows_and_changes_what_is_there(elsewhere: None) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    failed = make_job(tasks.add, [1], state="failed")
    address = reverse("admin:jobs_job_change", args=[failed.pk])

    assert b"tests.tasks.add" in client.get(reverse("admin:jobs_job_changelist")).content
    assert b"made for a test" in client.get(address).content
    form = EMPTY | {"name": "nightly", "task": "tests.tasks.noop", "args": "[]"}
    answer = client.post(reverse("admin:jobs_schedule_add"), form)
    assert answer.status_code == 302, answer.content.decode()
    row = Schedule.objects.using("second").get()
    shown = client.get(reverse("admin:jobs_schedule_change", args=[row.pk]))
    assert b"nightly" in shown.content
    for page in (
        reverse("admin:jobs_schedule_changelist"),
        reverse("admin:jobs_schedule_history", args=[row.pk]),
    ):
        assert client.get(page).status_code == 200
    client.post(reverse("admin:jobs_schedule_delete", args=[row.pk]), {"post": "yes"})
    assert not Schedule.objects.using("second").exists()


@both
@pytest.mark.parametrize("alias", ["default", "second"])
def test_the_pages_of_the_control_room_read_the_database_that_jobs_names(
    alias: str, client: Client
) -> None:
    client.force_login(User.objects.create_superuser("ada"))
    with override_settings(JOBS={**settings.JOBS, "DATABASE": alias}):
        failed = make_job(tasks.boom, state="failed")
        Worker.objects.using(alias).create(
            id=uuid4(),
            pid=1,
            protocol=1,
            queues=["seen_by_a_worker"],
            excluded_queues=[],
            processes=1,
            threads=1,
            coroutines=0,
            runners=[],
            idle=[],
        )
        pause_task(tasks.boom.name)
        listed = reverse("admin:jobs_job_changelist")
        pages = (
            reverse("admin:jobs_job_overview"),
            reverse("admin:jobs_job_kinds"),
            reverse("admin:jobs_pausedtask_changelist"),
            f"{listed}?kind={failed.history.get().fingerprint}",
            f"{listed}?q={failed.pk}",
        )
        for page in pages:
            assert tasks.boom.name.encode() in client.get(page).content.replace(b"<wbr>", b"")
        assert "seen_by_a_worker" in known.queues()


@both_committed
@pytest.mark.slow
def test_a_worker_and_its_beat_serve_the_database_they_are_told(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    here = enqueue(tasks.add, 1)
    with conf.serving("second"):
        there = enqueue(tasks.add, 1)
        each = {"kind": "interval", "interval": timedelta(seconds=1), "anchor": timezone.now()}
        Schedule(name="each", task=tasks.noop.name, **each).save(using="second")
    worker = start_worker(
        "--database", "second", "--processes", "1", "--beat", JOBS_TEST_EVERY_SECOND="1"
    )
    second = Job.objects.using("second")
    eventually(lambda: second.filter(schedule_id__isnull=False, state="succeeded").count() >= 2)
    there.refresh()
    here.refresh()

    assert (here.state, there.state) == ("queued", "succeeded")
    assert worker.stop() == 0
    # What code declares belongs to the database that JOBS names.
    assert list(Schedule.objects.using("second").values_list("name", flat=True)) == ["each"]


def test_commands_name_the_databases_that_there_are() -> None:
    with pytest.raises(CommandError, match="no 'thrid'; it has default, second"):
        call_command("runworker", database="thrid")
    assert conf.settings().database == "default"


@both
def test_the_option_stands_before_the_verb_or_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    Schedule(name="there", task=tasks.noop.name, kind="cron", line="@daily").save(using="second")
    call_command("jobs", "--database", "second", "schedules")
    call_command("jobs", "schedules", "--database", "second")
    call_command("jobs", "schedules")

    assert capsys.readouterr().out.count("there") == 2


# A backend of Django's own task API.

TWO = {
    "default": {"BACKEND": "jobs.backend.JobsBackend"},
    "reports": {"BACKEND": "jobs.backend.JobsBackend", "OPTIONS": {"DATABASE": "second"}},
}


@both
@override_settings(TASKS=TWO)
def test_a_backend_may_keep_its_jobs_in_a_database_of_its_own() -> None:
    from tests import django_tasks

    result = django_tasks.add.using(backend="reports").enqueue(1, 2)
    assert not Job.objects.exists()
    with conf.serving("second"):
        run_jobs()
    result.refresh()

    assert result.return_value == 3
    with pytest.raises(compat.exception("TaskResultDoesNotExist")):
        django_tasks.add.get_result(result.id)


def test_a_backends_database_is_checked() -> None:
    from jobs.backend import JobsBackend

    wrong: list[Error] = JobsBackend("x", {"OPTIONS": {"DATABASE": "thrid"}}).check()
    assert [one.id for one in wrong] == ["jobs.E009"]
    assert wrong[0].hint == "DATABASES has: default, second."


# Where the data is not: no job before its data is there.


@both_committed
def test_enqueue_on_commit_waits_for_the_datas_transaction(elsewhere: None) -> None:
    with transaction.atomic():
        user = User.objects.create(username="ada")
        enqueue_on_commit(tasks.add, user.pk, b=2)
        assert_not_enqueued()
    assert_enqueued(tasks.add, args=(user.pk, 2))

    with transaction.atomic():
        enqueue_on_commit(tasks.noop)
        transaction.set_rollback(True)
    assert_not_enqueued(tasks.noop)


@both
def test_enqueue_on_commit_refuses_a_wrong_call_at_once() -> None:
    with pytest.raises(TypeError, match="does not fit"):
        enqueue_on_commit(tasks.add)
    with pytest.raises(ValueError, match="argument 'a' of"):
        enqueue_on_commit(tasks.add, object())


@both
def test_enqueue_on_commit_runs_with_the_hooks_that_a_test_captures(
    django_capture_on_commit_callbacks: Any,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        enqueue_on_commit(task(tasks.plain).using(priority=4), "a")
    assert_enqueued(tasks.plain, args=["a"], priority=4)


@both
@override_settings(TASKS=TWO)
def test_enqueue_of_a_task_keeps_to_its_backends_database() -> None:
    from tests import django_tasks

    there = django_tasks.add.using(backend="reports")
    with no_query_of("default"):
        enqueue(there, 1)
        enqueue_many(there, [(2,)])
        assert_enqueued(there, times=2)

    assert Job.objects.using("second").count() == 2


@both
def test_an_atomic_task_is_refused_by_a_worker_of_another_database() -> None:
    with conf.serving("second"):
        job = enqueue(tasks.atomic_nap, 0, "ada")
        run_jobs()
        job.refresh()

    assert job.state == "failed"
    assert "jobs.E008" in job.errors[0].message
    assert not User.objects.exists()
