"""Failures by their kind: found, counted, and retried all at once."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.db.models.functions import Now
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs import Job, enqueue, frames, lifecycle, task
from jobs.lifecycle import Claimed
from jobs.models import Attempt, Queue, Silence, Statistic
from jobs.outcomes import Failed, Problem, Succeeded
from jobs.testing import make_job, run_jobs
from jobs.worker.silences import Silences
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
    # Two of them restore what the test's own transaction had set.
    assert len([one for one in asked if "SAVEPOINT" not in one["sql"]]) <= 8
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


def page_of(job: Job[Any]) -> str:
    [kind] = Attempt.objects.filter(job=job).values_list("fingerprint", flat=True).distinct()
    return f"{KINDS}{kind}/?{urlencode({'task': job.task})}"


def test_one_kind_tells_what_its_failures_say_and_how_they_differ(superuser: Client) -> None:
    jobs = [failed(1) for _ in range(4)]
    failed(2)
    moved = TRACEBACK.replace("    bank.charge()", "    bank.charge(twice=True)")
    told = moved.format(module="m1", line=77, error="shop.errors.E0", said="x")
    for job in jobs:
        Attempt.objects.filter(job=job).update(
            message="no money", traceback=told.replace("twice=True", "").replace("77", "7")
        )
    Attempt.objects.filter(job=jobs[0]).update(message="no <bank>", traceback=told)
    address = page_of(jobs[0])
    with CaptureQueriesContext(connection) as asked:
        text = page(superuser, address)

    assert len([one for one in asked if "SAVEPOINT" not in one["sql"]]) <= 12
    assert '<td class="jobs-number">3</td><td>no money</td>' in text
    assert "no &lt;bank&gt;" in text
    assert "1 with this difference" in text
    assert '<span class="jobs-added">+    bank.charge(twice=True)\n</span>' in text
    assert '<span class="jobs-removed">-    bank.charge()\n</span>' in text
    assert page_of(jobs[0]).replace("&", "&amp;") in page(
        superuser, reverse("admin:jobs_job_change", args=[jobs[1].pk])
    )
    for address in (f"{KINDS}0000000000000000/", f"{KINDS}a%00b/", f"{KINDS}x/silence/"):
        assert superuser.get(address).status_code == 404
    # Of which task, is not said.
    bare = page_of(jobs[0]).partition("?")[0]
    for address in (bare, f"{bare}silence/"):
        assert superuser.get(address).status_code == 404
    for address in (f"{bare}hear/", f"{KINDS}%00/hear/"):
        assert superuser.post(address).status_code == 404


def test_what_is_to_be_retried_of_a_kind_is_cancelled_all_at_once(superuser: Client) -> None:
    coming = [make_job("shop.tasks.t", error=OSError("no disk")) for _ in range(3)]
    other = make_job("shop.tasks.t", error=KeyError("b"))
    [row] = [row for row in superuser.get(KINDS).context["kinds"] if row["count"] == "3"]
    assert (row["left"], row["coming"]) == ("0", "3")
    assert "Cancel what is to be retried…" in page(superuser, page_of(coming[0]))

    chosen = {"action": "cancel", "select_across": "1", "_selected_action": [str(row["job_id"])]}
    first = superuser.post(row["cancel_url"], chosen | {"index": "0"})
    assert first.context["done"] == 3
    confirmed = {"confirmed": "1", "because": "", "seen_at": first.context["seen_at"]}
    superuser.post(row["cancel_url"], chosen | confirmed)

    assert Job.objects.cancelled().count() == 3
    other.refresh()
    assert other.state == "queued"


def test_a_silenced_kind_alarms_nobody_until_somebody_hears_of_it_again(
    superuser: Client,
) -> None:
    Queue.objects.create(name="default")
    noisy, other = failed(1), failed(6)
    Statistic.objects.create(
        starts_at=Now() - timedelta(minutes=3), queue_name="default", task=noisy.task, failed=1
    )
    overview, address = "/admin/jobs/", page_of(noisy)
    silence_url = address.replace("/?", "/silence/?")
    assert "1 job of shop.tasks.t1 has failed" in page(superuser, overview)
    assert "at INFO only" in page(superuser, silence_url)

    done = superuser.post(silence_url, {"because": "they know", "minutes": "60"}, follow=True)
    text = done.content.decode()
    assert "by ada · they know · until" in text
    assert LogEntry.objects.count() == 1
    assert "has failed, of" not in page(superuser, overview)
    rows = superuser.get(KINDS).context["kinds"]
    assert [bool(row["silence"]) for row in rows] == [False, True]

    superuser.post(address.replace("/?", "/hear/?"))
    assert not Silence.objects.exists()
    assert "1 job of shop.tasks.t1 has failed" in page(superuser, overview)
    assert other.task == noisy.task


def test_a_silence_whose_time_is_over_silences_nothing(superuser: Client) -> None:
    job = failed(1)
    kind = Attempt.objects.get(job=job).fingerprint
    Silence.objects.create(
        task=job.task, fingerprint=kind, until=Now() - timedelta(minutes=1), because="before"
    )

    assert "before" not in page(superuser, page_of(job))
    assert not superuser.get(KINDS).context["kinds"][0]["silence"]


def test_only_who_may_silences(db: None) -> None:
    job = failed(1)
    few = client_with("view_job", "view_payload")
    address = page_of(job)

    assert "Silence…" not in page(few, address)
    assert few.post(address.replace("/?", "/silence/?"), {"because": ""}).status_code == 403
    assert few.post(address.replace("/?", "/hear/?")).status_code == 403
    assert not Silence.objects.exists()


def test_a_worker_tells_of_a_silenced_kind_at_info_only(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = Problem("shop.errors.E", "no", "")
    silences = Silences()
    assert not silences.cover(connection, "shop.tasks.t", Failed(problem))
    Silence.objects.create(task="shop.tasks.t", fingerprint=lifecycle.kind_of(problem))
    # What was read is good for some seconds.
    assert not silences.cover(connection, "shop.tasks.t", Failed(problem))
    monkeypatch.setattr(silences, "_read_at", -100.0)

    assert silences.cover(connection, "shop.tasks.t", Failed(problem))
    assert not silences.cover(connection, "shop.tasks.u", Failed(problem))
    assert not silences.cover(connection, "shop.tasks.t", Succeeded())
    assert not silences.cover_loss(connection, "shop.tasks.t")


def test_a_line_of_the_log_leads_to_the_job_and_to_its_kind(
    transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    superuser = client_with(is_superuser=True)
    job = enqueue(divides, 0)
    with override_settings(JOBS={"ADMIN_URL": "https://shop.example/admin"}):
        run_jobs()

    [record] = [one for one in caplog.records if one.levelname == "ERROR"]
    urls = re.findall(r"https://shop\.example(\S+)", record.getMessage())
    assert urls == [f"/admin/jobs/job/{job.pk}/change/", page_of(job)]
    for url in urls:
        assert superuser.get(url).status_code == 200


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
    assert f"{KINDS}{kind}/" in page(superuser, reverse("admin:jobs_job_change", args=[mine.pk]))
    assert KINDS in page(superuser, f"{LIST}?state=failed")


def test_what_failed_is_for_who_may_see_it(db: None) -> None:
    job = failed(1)
    few, none = client_with("view_job", "retry_job"), Client()
    none.force_login(user_with("view_queue", name="none"))

    text = page(few, KINDS)

    assert "E0: " not in text
    assert str(job.pk) in text
    assert "Retry all…" in text
    assert none.get(KINDS).status_code == 403
