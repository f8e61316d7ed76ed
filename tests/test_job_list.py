"""The list of jobs: found by indexes, or by walks that admit where they ended."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db import IntegrityError, OperationalError, connection
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path

from jobs import Job, enqueue, ids
from jobs.admin import JobAdmin
from jobs.admin.jobs.asked import Asked
from jobs.admin.jobs.listing import rounded
from jobs.admin.jobs.walk import Found, patiently, walk
from jobs.models import Attempt, Queue, Statistic
from jobs.testing import make_job
from tests import tasks
from tests.test_admin import LIST, client_with, page


class MineAdmin(JobAdmin):
    list_filter = ("priority",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(queue_name="mine")


ops = AdminSite(name="ops")
ops.register(Job, MineAdmin)
urlpatterns = [path("ops/", ops.urls), path("admin/", admin.site.urls)]

NOOP, PLAIN = "tests.tasks.noop", "tests.tasks.plain"


@pytest.fixture
def superuser(db: None) -> Client:
    return client_with(is_superuser=True)


def listed(client: Client, **query: Any) -> list[str]:
    """The ids on the page, in their order."""
    answer = client.get(LIST, query)
    assert answer.status_code == 200, answer.headers
    return [str(job.pk) for job in answer.context["cl"].result_list]


def all_pages(client: Client, **query: Any) -> list[str]:
    """Following the link to the next page until there is none."""
    found: list[str] = []
    for _ in range(50):
        cl = client.get(LIST, query).context["cl"]
        found += [str(job.pk) for job in cl.result_list]
        if not cl.found.after:
            return found
        query["after"] = cl.found.after
    raise AssertionError("the pages do not end")


def tabs(client: Client) -> dict[str, str]:
    cl = client.get(LIST).context["cl"]
    return {tab["state"].value: tab["count"] for tab in cl.tabs if "state" in tab}


def walked(asked: Asked, *, wanted: int = 5, after: str = "", steps: tuple[int, ...]) -> Found:
    return walk(asked.source(Job.objects.all()), after=after, wanted=wanted, steps=steps)


def test_the_list_shows_jobs_and_filters_them(superuser: Client) -> None:
    queued, cancelled = enqueue(tasks.noop), enqueue(tasks.plain, "a")
    mail = tasks.noop.using(queue_name="mail").enqueue()
    cancelled.cancel()
    running = make_job(PLAIN, state="running", worker="web-1/2")
    done = make_job(PLAIN, state="succeeded", worker="web-10/1")
    failed = make_job(PLAIN, state="failed", error=OSError("disk full"))
    assert "waiting" not in tabs(superuser)
    waits = make_job(PLAIN, state="waiting")
    Queue.objects.create(name="mail")
    every = [waits, failed, done, running, mail, cancelled, queued]

    def shown(**query: str) -> set[Any]:
        return set(listed(superuser, **query))

    def those(*jobs: Job[Any]) -> set[str]:
        return {str(job.pk) for job in jobs}

    assert listed(superuser) == [str(job.pk) for job in every]
    assert shown(state="queued") == those(queued, mail)
    assert shown(state="cancelled") == those(cancelled)
    assert shown(state="running") == those(running)
    assert shown(state="succeeded") == those(done)
    assert shown(state="failed") == those(failed)
    assert shown(state="waiting") == those(waits)
    assert tabs(superuser)["waiting"] == "1"
    assert shown(queue="mail") == those(mail)
    assert shown(task="tests.tasks.boom") == set()
    assert shown(task=NOOP) == those(queued, mail)
    assert shown(worker="web-1") == those(running)
    assert shown(error="builtins.OSError") == those(failed)
    assert shown(error="builtins.ValueError") == set()
    assert shown(state="queued", queue="mail", task=NOOP) == those(mail)
    assert shown(state="failed", queue="mail") == set()
    assert shown(within="hour") == those(*every)


def test_it_is_searched_by_id_task_and_error(superuser: Client) -> None:
    queued, plain = enqueue(tasks.noop), enqueue(tasks.plain, "a")
    failed = make_job("gone.tasks.old", state="failed", error=OSError("disk full"))
    workflow = ids.uuid7()
    member = make_job(workflow_id=workflow)

    def shown(term: str) -> set[str]:
        return set(listed(superuser, q=term))

    assert shown(str(queued.pk)) == {str(queued.pk)}
    assert shown(f" {str(queued.pk).upper()} ") == {str(queued.pk)}
    assert shown(str(workflow)) == {str(member.pk)}
    assert shown(str(ids.uuid7())) == set()
    assert shown("tests.tasks.plain") == {str(plain.pk)}
    # A plain function is no task of the site's; that its jobs have run is known.
    Statistic.objects.create(starts_at=Now(), queue_name="default", task=PLAIN)
    assert shown("plai") == {str(plain.pk)}
    # A part of a name that is known, in any case; a whole one that is not.
    assert shown("TASKS.NOO") == {str(queued.pk)}
    assert shown("gone.tasks.old") == {str(failed.pk)}
    assert shown("disk fu") == {str(failed.pk)}
    assert shown("OSError") == {str(failed.pk)}
    assert shown("error: full") == {str(failed.pk)}
    assert shown("error:noop") == set()
    assert shown("nothing") == set()


def test_errors_are_searched_only_by_those_who_may_see_them(db: None) -> None:
    failed = make_job(PLAIN, state="failed", error=OSError("disk full"))
    eve = client_with("view_job")

    assert listed(eve, q="disk") == []
    assert listed(eve, q="error:disk") == []
    # Not heeded: it would tell which jobs have failed with it.
    assert listed(eve, error="builtins.ValueError") == [str(failed.pk)]
    text = page(eve, f"{LIST}?state=failed")
    assert "disk full" not in text
    assert "OSError" not in text


def test_time_ranges_are_of_when_jobs_were_enqueued(superuser: Client) -> None:
    now = datetime.now(UTC)
    jobs = {}
    for hours in (0, 5, 30, 24 * 9):
        moment = now - timedelta(hours=hours, minutes=5)
        jobs[hours] = make_job(id=ids.first_at(moment), enqueued_at=moment)

    def shown(**query: str) -> list[int]:
        found = listed(superuser, **query)
        return [hours for hours, job in jobs.items() if str(job.pk) in found]

    assert shown(within="hour") == [0]
    assert shown(within="day") == [0, 5]
    assert shown(within="week", state="queued") == [0, 5, 30]
    since, until = now - timedelta(hours=31), now - timedelta(hours=1)
    assert shown(since=since.isoformat(), until=until.isoformat()) == [5, 30]
    assert shown(until=until.isoformat()) == [5, 30, 24 * 9]


ODD = [
    "state=lost", "schedule=x", "workflow=7", "since=yesterday", "within=year", "after=x",
    "q=%00",
    "schedule=99999999999999999999", "since=0001-01-01T00:00:00%2B23:59",
    "state=queued&after=%00~0~2026-01-01~x", "state=failed&after=x~y",
    "state=queued&after=a~99999999999999999999~2026-01-01~x",
]  # fmt: skip
# What PostgreSQL has not as text; and what would tell arguments, results or errors.
REFUSED = [
    "queue=%00", "task=a%00", "worker=%00", "error=%00", "name=%00",
    "arguments__kwargs__card__startswith=4", "metadata__icontains=a", "result=1",
    "history__message__contains=x", "progress_message__contains=x",
]  # fmt: skip


@pytest.mark.parametrize("query", ODD)
def test_an_address_that_means_nothing_leads_to_the_whole_list(
    superuser: Client, query: str
) -> None:
    answer = superuser.get(f"{LIST}?{query}")

    assert (answer.status_code, answer.headers["Location"]) == (302, f"{LIST}?e=1")


@pytest.mark.parametrize("query", REFUSED)
@pytest.mark.parametrize("path", [LIST, "/admin/jobs/schedule/"])
def test_an_address_asks_nothing_of_what_is_not_for_everybody(
    superuser: Client, query: str, path: str
) -> None:
    make_job(kwargs={"card": "4242"})

    assert superuser.get(f"{path}?{query}").status_code in (302, 400)


@pytest.mark.parametrize("state", ["", "queued", "running", "succeeded", "failed", "cancelled"])
def test_pages_go_on_by_key_and_show_each_job_once(superuser: Client, state: str) -> None:
    made = [
        make_job(
            [NOOP, PLAIN][i % 2], state=state or "queued", priority=i % 3,
            queue_name=["a", "b~c"][i % 2], error=ValueError("x") if state == "failed" else None,
        )
        for i in range(120)
    ]  # fmt: skip
    # Many at one moment: the id decides.
    if state in ("failed", "cancelled"):
        Job.objects.update(**{f"{state}_at": Now()})
    expected = {str(job.pk) for job in made}

    query = {"state": state} if state else {}
    found = all_pages(superuser, **query)
    assert (len(found), set(found)) == (120, expected)
    of_task = all_pages(superuser, task=NOOP, **query)
    assert (len(of_task), set(of_task)) == (60, {str(job.pk) for job in made[::2]})


def test_queued_jobs_come_in_the_order_in_which_they_are_claimed(superuser: Client) -> None:
    late = make_job(priority=0, run_at=Now() + timedelta(hours=1))
    low, high = make_job(priority=-5), make_job(priority=5)
    first = make_job(priority=0)

    assert listed(superuser, state="queued") == [str(job.pk) for job in (high, first, late, low)]


def test_the_pages_of_errors_show_a_job_once_with_its_last(superuser: Client) -> None:
    jobs = [make_job(PLAIN, state="failed", error=OSError("a")) for _ in range(60)]
    for job in jobs:
        Attempt.objects.create(
            job=job, attempt=2, outcome="failed", finished_at=Now(), message="b",
            exception_class_path="builtins.KeyError",
        )  # fmt: skip

    assert listed(superuser, error="builtins.OSError") == []
    found = all_pages(superuser, error="builtins.KeyError")
    assert (len(found), set(found)) == (60, {str(job.pk) for job in jobs})
    text = page(superuser, f"{LIST}?state=failed")
    assert "KeyError: b" in text
    # Offered where failures are looked at.
    assert "error=builtins.OSError" in text


def test_a_walk_ends_somewhere_says_so_and_goes_on_from_there(db: None) -> None:
    rare = make_job("a.rare")
    for _ in range(30):
        make_job("a.common")
    asked = Asked(tasks=("a.rare",))

    first = walked(asked, steps=(4, 8))

    assert (first.rows, first.looked, first.is_cut) == ([], 12, False)
    assert first.back_to is not None
    second = walked(asked, after=first.after, steps=(4, 8))
    third = walked(asked, after=second.after, steps=(4, 8))
    assert (second.rows, third.rows, third.after) == ([], [rare], "")


def test_a_walk_loses_nothing_that_comes_behind_what_has_left(db: None) -> None:
    rare = {make_job("a.rare").pk for _ in range(10)}
    common = [make_job("a.common").pk for _ in range(30)]

    first = walked(Asked(tasks=("a.rare",)), wanted=20, steps=(25,))
    Job.objects.filter(pk__in=common[:20]).delete()
    second = walked(Asked(tasks=("a.rare",)), wanted=20, after=first.after, steps=(25,))

    assert first.rows == []
    assert {job.pk for job in second.rows} == rare


def test_an_id_that_tells_no_moment_breaks_no_page(superuser: Client) -> None:
    make_job(id=UUID("ffffffff-0000-4000-8000-000000000000"))
    make_job()

    found = walked(Asked(tasks=("a.rare",)), steps=(1,))

    assert (found.looked, found.back_to) == (1, None)
    assert len(listed(superuser)) == 2


def test_moments_that_are_none_are_refused(transactional_db: None) -> None:
    for column in ("run_at", "enqueued_at", "expires_at"):
        with connection.cursor() as cursor, pytest.raises(IntegrityError, match="moments"):
            cursor.execute(f"INSERT INTO jobs_job (task, {column}) VALUES ('a.b', 'infinity')")


def test_a_transaction_around_a_walk_goes_on_as_it_was(superuser: Client) -> None:
    def settings() -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('statement_timeout'), current_setting('enable_seqscan')"
            )
            return list(cursor.fetchone())

    before = settings()
    page(superuser, f"{LIST}?task=a.rare")
    with patiently("default"):
        assert settings() == ["2s", "off"]
    assert settings() == before


def test_tabs_tell_how_many_jobs_are_in_each_state(superuser: Client) -> None:
    for state in ("queued", "queued", "running", "failed", "cancelled", "succeeded"):
        make_job(state=state)

    tabs = superuser.get(LIST, {"state": "failed"}).context["cl"].tabs

    assert [(str(tab["label"]), tab["count"], tab["is_on"]) for tab in tabs] == [
        ("all", "", False), ("queued", "2", False), ("running", "1", False),
        ("succeeded", "", False), ("failed", "1", True), ("cancelled", "1", False),
    ]  # fmt: skip
    assert superuser.get(LIST).context["cl"].tabs[0]["is_on"]


def test_a_search_says_what_it_has_looked_for(superuser: Client) -> None:
    job = make_job("tests.tasks.noop")

    def told(term: str) -> str:
        cl = superuser.get(LIST, {"q": term}).context["cl"]
        return f"{cl.search_told} {cl.errors_url}".strip()

    assert told(str(job.pk)) == "The job with this id."
    assert told(str(ids.uuid7())) == "No job has this id; jobs of a workflow that has it."
    assert told("no money") == "Jobs whose last error says “no money”."
    assert told("TASKS.NOO") == (
        "Jobs of 1 task that is named so: tests.tasks.noop. ?q=error%3ATASKS.NOO"
    )
    assert told("") == ""


def test_columns_are_those_that_say_most_of_a_state(superuser: Client) -> None:
    for state, header in (
        ("failed", "Failed at"), ("queued", "Due"), ("running", "Started at"),
        ("cancelled", "Cancelled at"),
    ):  # fmt: skip
        make_job(state=state)
        text = page(superuser, f"{LIST}?state={state}")
        assert f">{header}<" in text.replace("\n", ""), state
        assert ">Enqueued at<" not in text.replace("\n", "")


def test_a_sites_own_admin_of_jobs_keeps_its_own_filters_and_its_own_jobs(
    superuser: Client,
) -> None:
    mine = make_job("a.b", queue_name="mine", state="failed", error=OSError("disk full"))
    make_job("a.b", queue_name="other", state="failed", error=OSError("disk full"))

    with override_settings(ROOT_URLCONF="tests.test_job_list"):
        for query in ({}, {"error": "builtins.OSError"}, {"q": "error:disk"}, {"within": "day"}):
            found = superuser.get("/ops/jobs/job/", query).context["cl"].result_list
            assert [job.pk for job in found] == [mine.pk], query
        shown = superuser.get(f"/ops/jobs/job/{mine.pk}/change/")
        assert shown.context["like_count"] == 1
        said = {
            "action": "remove", "select_across": "1", "_selected_action": [str(mine.pk)],
            "index": "0",
        }  # fmt: skip
        asked = superuser.post("/ops/jobs/job/?q=error:disk", said)
        said |= {"confirmed": "1", "seen_at": asked.context["seen_at"]}
        superuser.post("/ops/jobs/job/?q=error:disk", said)

    assert [job.queue_name for job in Job.objects.all()] == ["other"]


def test_the_page_admits_it(superuser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(30):
        make_job("a.common")
    monkeypatch.setattr("jobs.admin.jobs.walk.STEPS", (10,))

    text = page(superuser, f"{LIST}?task=a.rare")

    assert "Looked through 10 jobs for these" in text
    assert "Go on looking" in text


def test_a_statement_that_takes_too_long_is_cut_off(transactional_db: None) -> None:
    def sleep() -> None:
        with patiently("default", milliseconds=1), connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(10)")

    with pytest.raises(OperationalError):
        sleep()
    # What was set is as before.
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


def test_a_count_is_exact_where_all_is_seen_and_a_guess_elsewhere(superuser: Client) -> None:
    tasks.noop.enqueue_many([()] * 3)
    assert "3 jobs" in page(superuser, LIST)
    tasks.noop.enqueue_many([()] * 120)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_job")

    assert "about 120 jobs" in page(superuser, LIST)
    assert [rounded(count) for count in (0, 7, 123, 98_765, 1_234_567)] == [
        0, 7, 120, 99_000, 1_200_000,
    ]  # fmt: skip


def test_each_row_says_what_one_asks_of_its_state(superuser: Client) -> None:
    make_job(state="failed", error=OSError("disk full"))
    make_job(state="running", progress_done=3, progress_total=4, progress_message="pages")
    make_job(state="cancelled", cancelled_by="ada", cancelled_because="a typo")
    make_job(run_at=Now() + timedelta(minutes=10))
    make_job(run_at=Now() - timedelta(minutes=10))
    make_job(error=KeyError("k"), failures=1, run_at=Now() + timedelta(hours=2))
    parked = make_job("a.paused")
    Job.objects.filter(pk=parked.pk).update(run_at=Now() + timedelta(days=36_525))

    text = page(superuser, LIST)

    for said in (
        "OSError: disk full", "3 of 4 pages", "ada · a typo", "due in 9 min", "overdue by 10 min",
        "due in 1 h 59 min · KeyError", "its task is paused",
    ):  # fmt: skip
        assert said in text, said


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"state": "queued"},
        {"state": "failed", "task": PLAIN},
        {"state": "succeeded"},
        {"task": "a.rare"},
        {"error": "builtins.ValueError", "queue": "default"},
        {"state": "running", "worker": "tests"},
    ],
)
def test_the_list_asks_few_questions(transactional_db: None, query: dict[str, str]) -> None:
    superuser = client_with(is_superuser=True)
    for state in ("queued", "running", "failed", "succeeded"):
        for _ in range(60):
            make_job(PLAIN, state=state)

    with CaptureQueriesContext(connection) as asked:
        page(superuser, f"{LIST}?{urlencode(query)}")

    said = [one["sql"] for one in asked if one["sql"] not in ("BEGIN", "COMMIT")]
    assert len(said) <= 10, "\n".join(one[:150] for one in said)


def test_indexes_lead_to_what_has_one(superuser: Client, explain: Callable[..., str]) -> None:
    """However the table is filled: at a million rows a scan of it would take seconds."""
    for asked, index in (
        (Asked(), "jobs_job_pkey"),
        (Asked(within="day"), "jobs_job_pkey"),
        (Asked(state="queued"), "jobs_job_claim"),
        (Asked(state="failed"), "jobs_job_failed"),
        (Asked(state="cancelled"), "jobs_job_cancelled"),
        (Asked(schedule=7), "jobs_job_schedule"),
        (Asked(workflow=ids.uuid7()), "jobs_job_workflow"),
        (Asked(error="x.Y"), "jobs_attempt_exception"),
    ):
        source = asked.source(Job.objects.all())
        plan = explain(source.rows.order_by(*source.order)[:51])
        assert index in plan, plan
        assert "Seq Scan" not in plan, plan


@pytest.fixture
def explain(transactional_db: None) -> Callable[..., str]:
    def explain(rows: Any) -> str:
        with patiently("default"):
            return str(rows.explain())

    return explain
