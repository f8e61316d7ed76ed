"""Failures by their kind: found, counted, and retried all at once."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs import Job, enqueue, frames, lifecycle, task
from jobs.lifecycle import Claimed
from jobs.models import Attempt
from jobs.testing import make_job, run_jobs
from tests.test_admin import LIST, client_with, page, user_with

KINDS = "/admin/jobs/job/kinds/"
TRACEBACK = """\
Traceback (most recent call last):
  File "/app/shop/{module}.py", line {line}, in charge
    bank.charge()
shop.errors.{error}: {said}
"""


@pytest.fixture
def superuser(db: None) -> Client:
    return client_with(is_superuser=True)


@task
def divides(by: int) -> float:
    return 1 / by


@task
def looks_up(key: str) -> str:
    return {"a": "b"}[key]


@task(max_attempts=2, backoff=timedelta(0))
def divides_twice(by: int) -> float:
    return 1 / by


def failed(kind: int) -> Job[Any]:
    """Of twenty kinds."""
    job = make_job(f"shop.tasks.t{kind % 5}", state="failed")
    path = f"shop.errors.E{kind // 5}"
    told = TRACEBACK.format(module=f"m{kind % 5}", line=job.pk.int % 999, error=path, said=job.pk)
    Attempt.objects.filter(job=job).update(
        exception_class_path=path, message=f"no {job.pk}", traceback=told,
        fingerprint=frames.fingerprint(path, told),
    )  # fmt: skip
    return job


@pytest.mark.django_db
def test_failures_of_one_kind_have_one_fingerprint_whatever_they_say() -> None:
    for by in (0, 0):
        enqueue(divides, by)
    for key in ("x", "y"):
        enqueue(looks_up, key)
    enqueue(divides_twice, 0)
    run_jobs()

    kinds = Counter(Attempt.objects.values_list("job__task", "fingerprint"))

    assert sorted(kinds.values()) == [2, 2, 2]
    assert {len(kind) for _, kind in kinds} == {16}
    assert len({kind for _, kind in kinds}) == 3


@pytest.mark.django_db(transaction=True)
def test_a_lost_process_is_a_kind_of_its_own(
    connection: Any, claim: Callable[..., list[Claimed]]
) -> None:
    for _ in range(2):
        divides.enqueue(1)
    for one in claim(2):
        lifecycle.give_back(connection, one.claim, note=f"died {one.id}", charged=True)

    [kind] = set(Attempt.objects.values_list("fingerprint", flat=True))
    assert Attempt.objects.count() == 2
    assert len(kind) == 16


def test_a_thousand_failures_of_twenty_kinds_are_twenty_rows(superuser: Client) -> None:
    """And one kind's three hundred jobs are retried with two clicks."""
    for i in range(700):
        failed(i % 19)
    many = [failed(19) for _ in range(300)]

    with CaptureQueriesContext(connection) as asked:
        answer = superuser.get(KINDS)
    rows = answer.context["kinds"]
    assert len(rows) == 20
    assert len([one for one in asked if "SAVEPOINT" not in one["sql"]]) <= 7
    assert (rows[0]["count"], rows[0]["left"]) == ("300", "300")
    assert rows[0]["where"].startswith("…/shop/m4.py:") or "shop/m4.py:" in rows[0]["where"]
    assert rows[0]["error"].startswith("E3: no ")

    chosen = {"action": "retry", "select_across": "1", "_selected_action": [str(many[-1].pk)]}
    first = superuser.post(rows[0]["retry_url"], chosen | {"index": "0"})
    assert first.context["done"] == 300
    confirmed = {"confirmed": "1", "delay": "0", "seen_at": first.context["seen_at"]}
    second = superuser.post(rows[0]["retry_url"], chosen | confirmed, follow=True)

    assert "300 jobs are queued again." in second.content.decode()
    assert (Job.objects.queued().count(), Job.objects.failed().count()) == (300, 700)
    # What was retried is still among the failures, and none is left of it.
    [row] = [row for row in superuser.get(KINDS).context["kinds"] if row["count"] == "300"]
    assert (row["left"], row["retry_url"]) == ("0", "")


def test_one_task_may_be_looked_at_and_old_failures_are_in_no_hour(superuser: Client) -> None:
    for hours in (0, 0, 3, 24 * 9):
        job = failed(1)
        Attempt.objects.filter(job=job).update(finished_at=Now() - timedelta(hours=hours))
    failed(2)

    [row] = superuser.get(KINDS, {"task": "shop.tasks.t1"}).context["kinds"]

    assert (row["count"], row["left"]) == ("4", "4")
    assert row["picture"].count("<rect") == 2
    assert superuser.get(KINDS, {"task": "a\0b"}).status_code == 200
    assert "Nothing has failed." in page(superuser, f"{KINDS}?task=shop.tasks.none")


def test_the_list_shows_the_jobs_of_one_kind(superuser: Client) -> None:
    mine = failed(1)
    failed(2)
    kind = Attempt.objects.get(job=mine).fingerprint

    found = superuser.get(LIST, {"kind": kind}).context["cl"]

    assert [job.pk for job in found.result_list] == [mine.pk]
    assert found.chosen == [("failures of one kind", kind)]
    assert f"kind={kind}" in page(superuser, reverse("admin:jobs_job_change", args=[mine.pk]))
    assert KINDS in page(superuser, f"{LIST}?state=failed")


def test_what_failed_is_for_who_may_see_it(db: None) -> None:
    job = failed(1)
    few, none = client_with("view_job", "retry_job"), Client()
    none.force_login(user_with("view_queue", name="none"))

    text = page(few, KINDS)

    assert "E0" not in text
    assert str(job.pk) in text
    assert "Retry all…" in text
    assert none.get(KINDS).status_code == 403
