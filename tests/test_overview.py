"""The admin's front page for Jobs: what the queues do, and what needs attention."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse

from jobs import histogram, ids, lifecycle
from jobs.admin import JobAdmin, overview
from jobs.admin.overview import charts, health
from jobs.admin.overview.charts import shortly
from jobs.admin.words import briefly
from jobs.models import Claim, DeadWorker, Job, Queue, Refusal, Schedule, Statistic, Worker
from jobs.testing import make_job
from tests.test_admin import client_with, page, user_with

FRONT = "/admin/jobs/"


@pytest.fixture
def superuser(transactional_db: None) -> Client:
    return client_with(is_superuser=True)


def took(seconds: float, count: int = 1) -> list[int]:
    counts = [0] * histogram.BUCKETS
    counts[histogram.bucket(seconds)] = count
    return histogram.trimmed(counts)


def happened(ago: timedelta = timedelta(minutes=5), **columns: Any) -> None:
    values: dict[str, Any] = {"queue_name": "default", "task": "shop.tasks.sell"}
    Statistic.objects.create(starts_at=Now() - ago, **(values | columns))


def worker(name: str = "w", **columns: Any) -> None:
    values: dict[str, Any] = {
        "id": ids.uuid7(), "name": name, "host": "h", "pid": 1, "protocol": 1, "version": "1",
        "excluded_queues": [], "processes": 2, "threads": 1, "coroutines": 9, "runners": [],
        "idle": [],
    }  # fmt: skip
    Worker.objects.create(**(values | columns))


def test_an_empty_site_says_what_is_missing_and_that_nothing_is_wrong(superuser: Client) -> None:
    text = page(superuser, FRONT)

    # Nothing waits for one, so it is no alarm; but all is not well without a worker.
    assert '<li class="jobs-meant">No worker is running: manage.py runworker starts one.' in text
    assert "Nothing: all is well." not in text
    assert "There are no jobs yet." in text
    # Behind it, Django's own list of models.
    assert reverse("admin:jobs_job_changelist") in text


def test_without_a_worker_jobs_that_nobody_has_seen_are_the_first_remark(
    superuser: Client,
) -> None:
    make_job("shop.tasks.sell")
    make_job("shop.tasks.sell", queue_name="mail", run_at=Now() + timedelta(hours=1))

    text = page(superuser, FRONT)

    first = text.partition("What needs attention")[2].partition("<li")[2].partition("</li>")[0]
    assert "No worker is running, and 2 jobs are queued: manage.py runworker starts one." in first
    assert "jobs-meant" not in first
    # Queues are known from their jobs, not from workers alone.
    assert not Queue.objects.exists()
    assert ">mail</a>" in text


def test_with_a_schedule_a_missing_worker_is_an_alarm(superuser: Client) -> None:
    Schedule.objects.create(name="nightly", task="t", kind="cron", line="0 3 * * *")

    assert "<li>No worker is running: manage.py runworker starts one." in page(superuser, FRONT)


def test_with_a_worker_and_nothing_wrong_all_is_well(superuser: Client) -> None:
    worker()

    assert "Nothing: all is well." in page(superuser, FRONT)


def test_a_worker_that_died_is_shown_for_an_hour_with_what_became_of_its_jobs(
    superuser: Client,
) -> None:
    worker(name="web-1")
    dead = {"host": "vm", "pid": 41, "started_at": Now() - timedelta(days=1), "rescued": 3}
    for name, ago in (("web-2", 240), ("web-1", 60), ("web-0", 7200)):
        moment = Now() - timedelta(seconds=ago)
        DeadWorker.objects.create(
            id=ids.uuid7(), name=name, heartbeat_at=moment, declared_dead_at=moment, **dead
        )

    text = page(superuser, FRONT)

    words = (
        r"The worker web-2 \(vm, process 41\) died 4 min \d\d s ago; 3 of its jobs were rescued."
    )
    assert re.search(words, text)
    # One of that name lives again; the other is long ago.
    assert "worker web-1 (" not in text
    assert "web-0" not in text
    assert "web-0" in page(superuser, reverse("admin:jobs_deadworker_changelist"))


def test_what_postgresql_refuses_is_a_remark_that_leads_to_all_of_its_kind(
    superuser: Client,
) -> None:
    worker()
    job = make_job("shop.tasks.sell", state="running")
    for key in (str(job.pk), "another"):
        Refusal.objects.create(subject="end", key=key, message="no (SQLSTATE P0001)")
    Refusal.objects.filter(key="another").update(last_at=Now() - timedelta(minutes=1))

    text = page(superuser, FRONT)

    assert f"PostgreSQL refuses the end of a job {job.pk} and 1 more: no (SQLSTATE P0001)" in text
    listed = page(superuser, reverse("admin:jobs_refusal_changelist") + "?subject__exact=end")
    assert f"../job/{job.pk}/change/" in listed


def test_the_tab_of_running_jobs_counts_those_that_still_run_under_their_claim(
    superuser: Client,
) -> None:
    running = make_job("shop.tasks.sell", state="running")
    over = make_job("shop.tasks.sell", state="succeeded")
    again = make_job("shop.tasks.sell", state="running")
    claim = Claim.objects.get(pk=running.claim)
    Claim.objects.filter(pk=claim.pk).update(ids=[running.pk, over.pk, again.pk])

    text = page(superuser, reverse("admin:jobs_job_changelist"))

    assert re.search(r"running\s*<span[^>]*>2<", text) or "running (2)" in text, text


@pytest.mark.slow
def test_behind_a_lock_the_overview_says_who_holds_it_and_gives_up(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "_PATIENCE", 300)
    user = User.objects.create_superuser("root", password="x")
    client = Client()
    client.force_login(user)
    with lifecycle.connect("nightly-etl") as other, other.transaction():
        other.execute("LOCK TABLE jobs_job IN ACCESS EXCLUSIVE MODE")
        pid = other.info.backend_pid

        text = page(client, reverse("admin:jobs_job_overview"))

    assert f"The tables of jobs are locked by process {pid} (nightly-etl" in text
    assert "all is well" not in text
    assert 'data-every="20"' in text


def test_no_time_is_negative_where_a_snapshot_is_younger_than_its_statement(
    superuser: Client,
) -> None:
    worker()
    one = Worker.objects.get()
    job = make_job("shop.tasks.sell", state="running")
    Claim.objects.filter(pk=job.claim).update(worker_id=one.pk)
    Job.objects.filter(pk=job.pk).update(last_attempted_at=Now() + timedelta(milliseconds=90))
    Worker.objects.update(heartbeat_at=Now() + timedelta(milliseconds=90))

    text = page(superuser, FRONT)

    assert "sell</a>" in text
    assert not re.search(r"-\d+ (µs|ms|s)\b", text)


def test_queues_are_told_with_what_waits_runs_and_has_ended(superuser: Client) -> None:
    Queue.objects.create(name="default")
    worker()
    for state in ("queued", "queued", "running"):
        make_job("shop.tasks.sell", state=state)
    Claim.objects.update(worker_id=Worker.objects.get().pk)
    make_job("shop.tasks.sell", run_at=Now() + timedelta(hours=1))
    for _ in range(3):
        make_job("shop.tasks.sell", state="waiting")
    happened(succeeded=90, failed=10, waits=took(0.02, 100), runs=took(3, 100))
    text = page(superuser, FRONT)
    row = text[text.index("queue=default") :].partition("</tr>")[0]
    cells = [plain(cell) for cell in re.findall(r'<td class="jobs-number[^>]*>(.*?)</td>', row)]

    # ready, for how long, claimed, scheduled, waiting, in · out, failed, ended, wait, run time,
    # workers
    assert [*cells[:1], *cells[2:8]] == ["2", "1", "1", "3", "7 · 0", "10", "100"]
    assert "ms" in cells[8]
    assert " s · " in cells[9]
    assert cells[10] == "1"
    assert "state=waiting" in row
    # The worker, and what it runs.
    assert "2 × (1 + 9)" in text
    assert ">sell</a>" in text


def plain(cell: str) -> str:
    return cell.rpartition("</a>")[0].rpartition(">")[2] if "</a>" in cell else cell


def test_whatever_needs_attention_is_said_in_words_with_a_link(superuser: Client) -> None:
    for name in ("default", "slow", "paused"):
        Queue.objects.create(name=name)
    worker(name="gone", queues=["default"], heartbeat_at=Now() - timedelta(minutes=9))
    make_job(queue_name="slow")
    make_job(queue_name="paused")
    make_job(run_at=Now() - timedelta(minutes=20))
    lifecycle.pause("paused", by="ada")
    happened(succeeded=30, failed=12, lost=1)
    happened(task="shop.tasks.rare", succeeded=10_000, failed=1)
    Schedule.objects.create(name="nightly", task="tests.tasks.noop", kind="cron", line="0 3 * * *")
    with connection.cursor() as cursor:
        # As a beat writes it: the trigger keeps others from doing so.
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            "UPDATE jobs_schedule SET next_run_at = now() - interval '1 hour', stale_since = NULL"
        )
        cursor.execute("SET session_replication_role = origin")
    text = page(superuser, FRONT)

    for words in (
        "No worker serves the queue slow, where 1 job waits.",
        "The worker gone has not been heard of for 9 min 00 s.",
        "No beat has served the schedule nightly for 1 h 00 min.",
        "In the last hour 1 job of shop.tasks.sell has lost its process.",
        "In the last hour 12 jobs of shop.tasks.sell have failed, of 42.",
        "The queue paused is paused, and 1 job waits in it.",
        "In the queue default the first job has waited for 20 min 00 s.",
    ):
        assert words in text, words
    assert "shop.tasks.rare has failed" not in text
    assert "state=failed&amp;task=shop.tasks.sell" in text


def test_the_task_that_fails_most_comes_first_with_its_last_error(superuser: Client) -> None:
    happened(task="shop.tasks.good", succeeded=500)
    happened(task="shop.tasks.bad", failed=3, succeeded=1)
    make_job("shop.tasks.bad", state="failed", error=KeyError("first"))
    last = make_job("shop.tasks.bad", state="failed", error=ValueError("the last straw"))
    text = page(superuser, FRONT)
    listed = text[text.index("Tasks of the last hour") :]

    assert listed.index("shop.tasks.bad") < listed.index("shop.tasks.good")
    assert "ValueError: the last straw" in listed
    assert f"/{last.pk}/change/" in listed
    assert "75 %" in listed


def test_charts_are_of_the_span_and_queue_that_are_asked_for(superuser: Client) -> None:
    happened(succeeded=7)
    happened(queue_name="mail", task="shop.tasks.send", succeeded=5)
    # And with each what it comes to, as folding has it.
    for total in ({}, {"queue_name": "", "task": ""}):
        happened(timedelta(hours=5), seconds=600, succeeded=11, **total)
        happened(timedelta(days=3), seconds=3600, succeeded=13, **total)
    happened(task="", ready=4)

    def bars(query: str) -> list[str]:
        text = page(superuser, f"{FRONT}?{query}")
        return re.findall(r'class="bar"><title>[^<]*: ([^<]*)</title>', text)

    assert bars("") == ["12 succeeded"]
    assert bars("queue=mail") == ["5 succeeded"]
    assert bars("task=shop.tasks.sell") == ["7 succeeded"]
    assert bars("span=day") == ["11 succeeded", "12 succeeded"]
    of_week = ["13 succeeded", "11 succeeded", "7 succeeded"]
    assert bars("span=week&task=shop.tasks.sell") == of_week
    assert bars("span=week&queue=default") == of_week
    assert bars("span=week") == [*of_week[:2], "12 succeeded"]
    assert bars("span=nonsense") == ["12 succeeded"]
    # One sample has no neighbour, and is seen nevertheless.
    assert re.findall(r"<title>[^<]*: ([^<]*)</title><circle", page(superuser, FRONT)) == ["4"]
    assert page(superuser, FRONT).count("jobs-lone") == 1


def test_a_chart_is_shapes_and_texts_and_nothing_that_styles_or_runs() -> None:
    moments = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(3)]
    kinds = (("good", "<good>"), ("bad", "bad"))
    bars = charts.stacked(
        "Ended", kinds, [{"good": 3, "bad": 1}, {}, {"good": 2_000, "bad": 0}], moments, ""
    )
    line = charts.lines(
        "Wait", kinds, [{"good": 0.5}, {"good": 1.25}, {"good": None, "bad": 2.0}], moments, " s"
    )

    for drawn in (bars, line):
        assert not re.search(r"style|script|<desc|<!--|opacity|\sid=|NaN", drawn)
        assert "&lt;good&gt;" in drawn
    assert 'aria-label="Ended: 2,000 at most"' in bars
    told = re.findall(r'class="bar"><title>[^<]*: ([^<]*)</title>', bars)
    assert told == ["3 &lt;good&gt;, 1 bad", "2,000 &lt;good&gt;", "3 &lt;good&gt;, 1 bad"]
    # A line through two, and one that stands alone.
    assert line.count('class="dot"') == 2
    assert line.count('class="jobs-lone"') == 1
    assert 'aria-label="Wait: 2 s at most"' in line
    assert "–</text>" in charts.lines("Wait", kinds, [{}, {}, {}], moments, " s")


def test_who_may_not_see_jobs_sees_nothing_of_it(transactional_db: None) -> None:
    few = client_with("view_queue")
    happened(task="shop.tasks.secret", failed=5)

    assert "jobs-overview" not in page(few, FRONT)
    assert few.get(reverse("admin:jobs_job_overview")).status_code == 403
    nobody = Client()
    assert nobody.get(reverse("admin:jobs_job_overview")).status_code == 302


def test_each_part_is_for_who_may_see_it(transactional_db: None) -> None:
    viewer = client_with("view_job")
    worker(name="secret-worker", heartbeat_at=Now() - timedelta(minutes=9))
    Queue.objects.create(name="secret-queue")
    happened(task="shop.tasks.bad", failed=3)
    make_job("shop.tasks.bad", state="failed", error=PermissionError("card 4111"))
    text = page(viewer, FRONT)

    assert "shop.tasks.bad" in text
    for hidden in ("PermissionError", "4111", "secret-worker", "secret-queue"):
        assert hidden not in text


def test_a_schedule_that_no_beat_has_planned_is_told(superuser: Client) -> None:
    Schedule.objects.create(name="nightly", task="tests.tasks.noop", kind="cron", line="0 3 * * *")
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE jobs_schedule SET stale_since = now() - interval '10 minutes'")
        cursor.execute("SET session_replication_role = origin")

    assert "No beat has served the schedule nightly for 10 min 00 s." in page(superuser, FRONT)


def test_a_job_that_sql_has_made_odd_breaks_no_page(superuser: Client) -> None:
    worker()
    job = make_job(state="running")
    Claim.objects.update(worker_id=Worker.objects.get().pk)
    Job.objects.filter(pk=job.pk).update(last_attempted_at=None)

    assert ">example</a>" in page(superuser, FRONT)


def test_the_first_of_all_priorities_is_told(superuser: Client) -> None:
    Queue.objects.create(name="default")
    worker()
    starving = make_job(priority=-5, run_at=Now() - timedelta(days=2))
    for _ in range(20):
        make_job()
    text = page(superuser, FRONT)

    assert starving.priority == -5
    assert "the first job has waited for 2 d 0 h." in text


# Other sites of the admin.


class Ops(AdminSite):
    """With the jobs' page, and no other."""


class Support(AdminSite):
    """Without any."""


ops, support = Ops("ops"), Support("support")
ops.register(Job, JobAdmin)
support.register(User)
urlpatterns = [
    path("ops/", ops.urls),
    path("support/", support.urls),
    path("admin/", admin.site.urls),
]


def test_each_site_of_the_admin_leads_to_its_own_pages(superuser: Client) -> None:
    worker(heartbeat_at=Now() - timedelta(minutes=9))
    happened(failed=5)
    with override_settings(ROOT_URLCONF="tests.test_overview"):
        text = page(superuser, "/ops/jobs/")
        refreshed = superuser.get("/ops/jobs/job/overview/").content.decode()

    for shown in (text, refreshed):
        assert 'href="/ops/jobs/job/?state=failed' in shown
        assert "/admin/jobs/" not in shown
        # A page that this site has not is no link.
        assert "<li>The worker w has not been heard of" in shown
    assert 'data-url="/ops/jobs/job/overview/?span=hour"' in text


def test_what_keeps_dead_rows_is_told_with_how_to_end_it(
    superuser: Client,
    connect: Callable[[], psycopg.Connection[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "OPEN_FOR", -1.0)
    holder = connect()
    with holder.transaction():
        # It has no snapshot between its statements, and holds them all the same.
        holder.execute("INSERT INTO jobs_queue (name) VALUES ('forgetful')")
        text = page(superuser, FRONT)
        pid = holder.info.backend_pid
        assert "(jobs test, idle in transaction), and keeps dead rows" in text
        assert f"To end it: SELECT pg_terminate_backend({pid})" in text
        assert "(its last statement: INSERT INTO jobs_queue (name)" in text
        few = Client()
        few.force_login(user_with("view_job", "view_worker", name="few"))
        text = page(few, FRONT)
        assert f"SELECT pg_terminate_backend({pid})" in text
        assert "its last statement" not in text
    assert "keeps dead rows" not in page(superuser, FRONT)
    monkeypatch.setattr(health, "TAKEN", 0.0)
    monkeypatch.setattr(health, "DEAD", -1)
    text = page(superuser, FRONT)
    assert "connections to PostgreSQL are taken" in text
    assert "dead rows, which autovacuum has not removed" in text


def test_the_tables_and_the_time_of_claims_are_told(superuser: Client) -> None:
    worker(name="quick", claim_time=0.0042)
    worker(name="slow", claim_time=0.9)
    text = page(superuser, FRONT)

    for told in ('<th scope="row">jobs_job</th>', "Connections: ", ">4 ms</td>", "KB</td>"):
        assert told in text.replace("\xa0", " "), told
    assert "A claim takes the worker slow 900 ms" in text
    assert "the worker quick" not in text
    few = Client()
    few.force_login(user_with("view_job", name="few"))
    assert "jobs_attempt" not in page(few, FRONT)


def test_servers_troubles_are_told_in_words() -> None:
    told = list(
        health.words(
            {
                "transactions": [
                    {
                        "pid": 7, "application_name": "psql", "state": "active", "age": 7200.0,
                        "behind": 3,
                    },
                    # Of another role, of which only that is seen.
                    {"pid": 8, "application_name": None, "state": None, "age": None, "behind": 3},
                    {
                        "pid": 9, "application_name": None, "state": None, "age": None,
                        "behind": 10**9,
                    },
                ],
                "prepared": [{"gid": "it", "age": 900.0}],
                "slots": [{"slot_name": "old", "behind": 5_000_000}],
                "connections": 96, "most_connections": 97,
                "tables": [{"name": "jobs_job", "dead": 3_000_000}],
            }
        )
    )  # fmt: skip

    assert [words.partition(":")[0] for words in told] == [
        (
            "A transaction has been open for 2 h 00 min (psql, active), and keeps dead rows from"
            " being removed. To end it"
        ),
        (
            "A transaction has been open for an unknown time (–, –), and keeps dead rows from being"
            " removed. To end it"
        ),
        "A transaction was prepared 15 min 00 s ago and never ended",
        (
            "Nobody reads from the replication slot old, which keeps dead rows from being removed."
            " To drop it"
        ),
        "96 of 97 connections to PostgreSQL are taken",
        "The table of jobs has 3,000,000 dead rows, which autovacuum has not removed",
    ]


def test_a_refresh_takes_few_queries_however_much_there_is(superuser: Client) -> None:
    for i in range(20):
        Queue.objects.create(name=f"q{i}")
        worker(name=f"w{i}")
        happened(queue_name=f"q{i}", task=f"shop.tasks.t{i}", failed=1)
        make_job(f"shop.tasks.t{i}", state="running", queue_name=f"q{i}")
    url = reverse("admin:jobs_job_overview")
    superuser.get(url)
    with CaptureQueriesContext(connection) as queries:
        superuser.get(url)

    # With those of the session and the user; their limit is set in a transaction of its own.
    read = [one for one in queries if "set_config" not in one["sql"] and "FROM" in one["sql"]]
    assert len(read) <= 5
    assert len(queries) <= len(read) + 4
    with CaptureQueriesContext(connection) as queries:
        superuser.get(FRONT)
    assert len(queries) <= 20


@pytest.mark.parametrize("waits", ["{-1}", "{NULL,1}", "{" + ",".join(["1"] * 150) + "}"])
def test_a_row_of_statistics_that_sql_has_made_odd_breaks_no_page(
    superuser: Client, waits: str
) -> None:
    happened(succeeded=7, runs=took(2))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_statistic SET waits = %s", [waits])

    assert ">7</td>" in page(superuser, FRONT)


@pytest.mark.parametrize(
    "address", ["?queue=%00", "?task=%00", "job/overview/?queue=%00", "pausedtask/add/?task=%00"]
)
def test_what_no_text_can_be_is_not_heeded(superuser: Client, address: str) -> None:
    assert superuser.get(f"{FRONT}{address}").status_code == 200


def test_durations_and_numbers_are_short() -> None:
    told = [briefly(one) for one in (2e-5, 0.25, 3.21, 45, 61, 3700, 200_000)]

    assert told == ["20 µs", "250 ms", "3.2 s", "45 s", "1 min 01 s", "1 h 01 min", "2 d 7 h"]
    assert [shortly(one) for one in (0, 0.123, 7, 12.3, 1234, 56_789)] == [
        "0", "0.12", "7", "12", "1,234", "57k",
    ]  # fmt: skip
