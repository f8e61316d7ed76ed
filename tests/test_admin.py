"""The admin: what is seen and done, by whom."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs import Job, enqueue, ids, lifecycle, task
from jobs.admin.jobs.verbs import VERBS
from jobs.lifecycle import Claimed, Ended
from jobs.models import Queue, Schedule, Worker
from jobs.outcomes import Failed, Problem
from jobs.testing import make_job
from tests import tasks

LIST = "/admin/jobs/job/"


@task(sensitive=["password"])
def sign_in(user: str, password: str) -> None: ...


def user_with(*codenames: str, name: str = "eve", is_superuser: bool = False) -> User:
    user = User.objects.create(username=name, is_staff=True, is_superuser=is_superuser)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def client_with(*codenames: str, is_superuser: bool = False) -> Client:
    client = Client()
    client.force_login(user_with(*codenames, name="ada", is_superuser=is_superuser))
    return client


@pytest.fixture
def superuser(db: None) -> Client:
    return client_with(is_superuser=True)


@pytest.fixture
def failed(connection: Any, claim: Callable[..., list[Claimed]]) -> Job[Any]:
    job = sign_in.enqueue("ada", password="secret")
    (claimed,) = claim()
    claimed.started_at = claimed.finished_at = claimed.now()
    problem = Problem("builtins.ValueError", "told <b>so</b>", "Traceback: line 1")
    lifecycle.record(connection, [Ended(claimed, Failed(problem))])
    job.refresh()
    return job


def page(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_failed_jobs_page_tells_why_and_hides_what_is_sensitive(failed: Job[Any]) -> None:
    text = page(client_with(is_superuser=True), reverse("admin:jobs_job_change", args=[failed.pk]))

    assert "Traceback: line 1" in text
    assert "told &lt;b&gt;so&lt;/b&gt;" in text
    assert "secret" not in text
    assert "&quot;ada&quot;" in text
    assert "Retry" in text


@pytest.mark.django_db(transaction=True)
def test_payloads_are_for_those_who_may_see_them(failed: Job[Any]) -> None:
    client = client_with("view_job")

    text = page(client, reverse("admin:jobs_job_change", args=[failed.pk]))

    assert "Traceback: line 1" not in text
    assert "&quot;ada&quot;" not in text
    assert "told" not in text
    assert "retry/" not in text


@pytest.mark.django_db(transaction=True)
def test_verbs_are_for_those_who_may(failed: Job[Any]) -> None:
    client = client_with("view_job")

    for verb in ("retry", "again"):
        url = reverse(f"admin:jobs_job_{verb}", args=[failed.pk])
        assert client.post(url).status_code == 403
        assert client.get(url).status_code in (403, 405)
    for verb in VERBS:
        said = {"action": verb, "_selected_action": [str(failed.pk)], "confirmed": "1"}
        client.post(LIST, said)
    failed.refresh()
    assert failed.state == "failed"


def test_nothing_is_added_edited_or_deleted(superuser: Client) -> None:
    job = enqueue(tasks.noop)

    for name in ("job", "queue", "worker"):
        assert superuser.get(f"/admin/jobs/{name}/add/").status_code == 403
    url = reverse("admin:jobs_job_change", args=[job.pk])
    assert superuser.post(url, {"priority": 5}).status_code == 403
    assert superuser.post(reverse("admin:jobs_job_delete", args=[job.pk])).status_code == 403
    assert Job.objects.get().priority == 0


def test_queues_are_paused_and_resumed_by_those_who_may(db: None) -> None:
    Queue.objects.create(name="mail")
    tasks.noop.using(queue_name="mail").enqueue()
    tasks.noop.using(queue_name="mail", run_after=timedelta(hours=1)).enqueue()
    client = client_with("view_queue", "pause_queue")
    selected = {"_selected_action": ["mail"]}

    asked = client.post("/admin/jobs/queue/", {**selected, "action": "pause"})
    assert "No worker will start a job of the queue <strong>mail</strong>" in asked.content.decode()
    said = {"action": "pause", "confirmed": "1", "because": "the bank is down", "minutes": "90"}
    client.post("/admin/jobs/queue/", {**selected, **said, "minutes": "-1"})
    assert not Queue.objects.get().is_paused
    client.post("/admin/jobs/queue/", selected | said)
    assert (Queue.objects.get().is_paused, Queue.objects.get().paused_by) == (True, "ada")
    assert "mail" in page(client, "/admin/jobs/queue/")
    client.post("/admin/jobs/queue/", {**selected, "action": "resume"})
    assert not Queue.objects.get().is_paused


def test_workers_and_schedules_are_shown(superuser: Client) -> None:
    Worker.objects.create(
        id=ids.uuid7(), name="web-1", host="web", pid=1, protocol=1, version="0", queues=["mail"],
        excluded_queues=[], processes=2, threads=1, coroutines=100, runners=[], idle=[],
    )  # fmt: skip
    Schedule.objects.create(name="nightly", source="code", task="t", kind="cron", line="0 3 * * *")
    Schedule.objects.update(problem="bad")
    Schedule.objects.create(
        name="often", source="code", task="t", kind="interval", interval=timedelta(minutes=5),
        anchor="2026-01-01T00:00Z",
    )  # fmt: skip

    assert "web-1" in page(superuser, "/admin/jobs/worker/")
    text = page(superuser, "/admin/jobs/schedule/")
    assert "At 03:00" in text
    assert "Every 5" in text
    assert "bad" in text


def test_progress_and_an_unknown_task_are_shown(superuser: Client) -> None:
    job = enqueue(tasks.plain, "not to be seen")
    Job.objects.update(progress_done=1, progress_total=4, progress_message="rows", task="gone.away")

    text = page(superuser, reverse("admin:jobs_job_change", args=[job.pk]))

    assert 'value="25"' in text
    assert "not to be seen" not in text


def test_a_job_is_run_again_as_a_new_one_that_names_it(superuser: Client) -> None:
    first = make_job(
        tasks.add, [1], {"b": 2}, state="succeeded", priority=4, max_attempts=3, metadata={"a": 1}
    )
    change = f"/admin/jobs/job/{first.pk}/change/"
    assert "Run again" in page(superuser, change)

    answer = superuser.post(f"/admin/jobs/job/{first.pk}/again/")
    made = Job.objects.exclude(pk=first.pk).get()

    assert answer["Location"] == f"/admin/jobs/job/{made.pk}/change/"
    assert (made.task, made.args, made.kwargs) == (first.task, [1], {"b": 2})
    assert (made.state, made.priority, made.max_attempts) == ("queued", 4, 3)
    assert made.metadata == {"a": 1, "again_of": str(first.pk), "enqueued_by": "ada"}
    shown = page(superuser, answer["Location"])
    assert change in shown
    assert "Run again" not in shown
    assert LogEntry.objects.get().object_id == str(made.pk)
    first.refresh()
    assert first.state == "succeeded"


@pytest.mark.django_db
def test_running_again_takes_its_own_permission_and_a_post() -> None:
    job = make_job(state="failed")
    few = client_with("view_job", "retry_job")
    url = f"/admin/jobs/job/{job.pk}/again/"

    assert "Run again" not in page(few, f"/admin/jobs/job/{job.pk}/change/")
    assert few.post(url).status_code == 403
    assert few.get(url).status_code == 403
    # Asked first.
    grace = Client()
    grace.force_login(user_with("view_job", "run_job", name="grace"))
    assert "A new job is queued" in page(grace, url)
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("cookie", "told"),
    [
        ("Asia/Tokyo", "2026-01-02 00:04"), ("UTC", "2026-01-01 15:04"), ("", "2026-01-01 15:04"),
        ("Mars/Olympus", "2026-01-01 15:04"), ("../etc", "2026-01-01 15:04"),
    ],
)  # fmt: skip
def test_moments_are_shown_in_the_viewers_zone(superuser: Client, cookie: str, told: str) -> None:
    job = make_job(enqueued_at=datetime(2026, 1, 1, 15, 4, tzinfo=UTC))
    superuser.cookies["jobs_zone"] = cookie

    assert told in page(superuser, f"/admin/jobs/job/{job.pk}/change/")
    assert told in page(superuser, "/admin/jobs/job/")
    assert told in page(superuser, f"/admin/jobs/job/{job.pk}/life/")


def test_a_moment_at_the_end_of_time_breaks_no_page(superuser: Client) -> None:
    end = datetime(9998, 12, 31, 23, tzinfo=UTC)
    job = make_job(expires_at=end)
    Queue.objects.create(name="default", paused_at=end, paused_until=end)
    superuser.cookies["jobs_zone"] = "Asia/Tokyo"

    for address in (f"job/{job.pk}/change/", "job/", "", "job/overview/", "queue/"):
        assert superuser.get(f"/admin/jobs/{address}").status_code == 200


def test_a_zone_that_the_site_activates_is_heeded(superuser: Client) -> None:
    job = make_job(enqueued_at=datetime(2026, 1, 1, 15, 4, tzinfo=UTC))
    superuser.cookies["jobs_zone"] = "Asia/Tokyo"
    with timezone.override("Europe/Berlin"):
        assert "2026-01-01 16:04" in page(superuser, f"/admin/jobs/job/{job.pk}/change/")


def test_metadata_that_names_no_job_breaks_no_page(superuser: Client) -> None:
    for odd in ({"again_of": "x"}, {"again_of": [1]}, ["again_of"], "again_of"):
        job = make_job(metadata=odd)
        assert page(superuser, f"/admin/jobs/job/{job.pk}/change/")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query",
    ["task__regex=[", "task__iregex=(", "run_at__year=99999", "run_at__iso_year=0",
     "id__exact=x", "priority__exact=99999999999999999999", "run_at__gte=infinity",
     "task__contains=%00", "q=%00", "p=-1", "o=99", "attempt__gt=x", "metadata__a__regex=["],
)  # fmt: skip
@pytest.mark.parametrize("page", ["job", "schedule", "queue", "refusal", "deadworker", "worker"])
def test_no_address_breaks_a_list(admin_client: Client, page: str, query: str) -> None:
    enqueue(tasks.noop)

    answer = admin_client.get(f"/admin/jobs/{page}/?{query}")

    assert answer.status_code in (200, 302, 400)


@pytest.mark.django_db
def test_a_year_of_the_calendar_may_be_asked_for(admin_client: Client) -> None:
    enqueue(tasks.noop)

    answer = admin_client.get("/admin/jobs/job/", {"run_at__year": str(timezone.now().year)})

    assert answer.status_code == 200
