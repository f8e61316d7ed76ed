"""Async views: enqueue, wait and read, without sync_to_async."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, JsonResponse
from django.test import AsyncClient, override_settings
from django.urls import path

from jobs import Job, aenqueue, aenqueue_many
from jobs.testing import live_worker
from tests import tasks
from tests.workers import ROOT


async def view(request: HttpRequest) -> JsonResponse:
    """Everything that a view may want of jobs."""
    job = await aenqueue(tasks.add, 1)
    slow = await tasks.async_nap.using(priority=3).aenqueue(0.01)
    many = await aenqueue_many(tasks.add, [(5,), (6,)])
    value = await job.await_result(timeout=10)
    await slow.await_result(timeout=10)
    await slow.arefresh()
    read = await Job.objects.aget(pk=job.pk)
    values = [await (await tasks.add.aget_result(id_)).await_result(10) for id_ in many]
    listed = [one.state async for one in Job.objects.succeeded().order_by("pk")]
    return JsonResponse(
        {"value": value, "slow": slow.state, "read": read.state, "many": values, "listed": listed}
    )


urlpatterns = [path("view/", view)]


@pytest.mark.django_db(transaction=True)
def test_an_async_view_enqueues_waits_and_reads() -> None:
    async def ask() -> Any:
        return (await AsyncClient().get("/view/")).json()

    with override_settings(ROOT_URLCONF="tests.test_async"), live_worker():
        told = async_to_sync(ask)()

    assert told == {
        "value": 2,
        "slow": "succeeded",
        "read": "succeeded",
        "many": [6, 7],
        "listed": ["succeeded"] * 4,
    }


@pytest.mark.slow
def test_starting_asks_the_database_nothing() -> None:
    """Neither at import, nor in ready(), nor in the checks of a start."""
    code = (
        "import django, psycopg\n"
        "def refuse(*args, **kwargs): raise SystemExit('a connection was opened')\n"
        "psycopg.connect = psycopg.Connection.connect = refuse\n"
        "django.setup()\n"
        "import jobs.admin, jobs.backend, jobs.testing, jobs.worker, jobs.beat\n"
        "from django.core.management import call_command\n"
        "call_command('check')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "project.settings", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
