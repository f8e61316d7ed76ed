"""One job's page: its life, its errors, what it was given, and what can be done."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs import Job, codec, enqueue, frames, lifecycle
from jobs.admin.jobs import tracebacks
from jobs.admin.jobs.python import as_python
from jobs.admin.payload import HIDDEN
from jobs.models import Attempt
from jobs.testing import make_job
from tests import tasks
from tests.test_admin import client_with, page, sign_in, user_with
from tests.test_admin_schedules import nightly


@pytest.fixture
def superuser(db: None) -> Client:
    return client_with(is_superuser=True)


def url_of(job: Job[Any], verb: str = "change") -> str:
    return reverse(f"admin:jobs_job_{verb}", args=[job.pk])


def events(client: Client, job: Job[Any]) -> list[str]:
    """Its life in words, as the page has it."""
    life = client.get(url_of(job)).context["life"]
    return [" ".join(str(part) for part in (one.words, *one.notes)) for one in life]


def attempt(job: Job[Any], number: int, outcome: str, **columns: Any) -> None:
    started = job.enqueued_at + timedelta(minutes=number)
    values = {
        "attempt": number, "outcome": outcome, "worker": "web-1/1", "started_at": started,
        "finished_at": started + timedelta(seconds=2),
    }  # fmt: skip
    Attempt.objects.create(job=job, **(values | columns))


def test_a_job_that_waits_says_for_what(superuser: Client) -> None:
    due = make_job(run_at=Now() - timedelta(seconds=90))
    later = make_job(run_at=Now() + timedelta(hours=2))

    assert events(superuser, due) == ["enqueued", "waits for a worker for 1 min 30 s"]
    assert events(superuser, later) == ["enqueued", "due in 1 h 59 min"]
    lifecycle.pause_task("tests.example")
    Job.objects.update(run_at=Now() + timedelta(days=36_525))
    assert events(superuser, due)[-1] == "waits until its task is resumed"


def test_a_success_tells_how_long_it_waited_and_ran(superuser: Client) -> None:
    start = datetime.now(UTC) - timedelta(minutes=5)
    job = make_job(
        state="succeeded", enqueued_at=start, run_at=start, worker="web-1/2",
        last_attempted_at=start + timedelta(seconds=3),
        finished_at=start + timedelta(seconds=3.5),
    )  # fmt: skip

    assert events(superuser, job) == [
        "enqueued",
        "attempt 1 on web-1/2 after waiting for 3.0 s",
        "succeeded after 500 ms",
    ]


def test_each_attempt_is_told_with_what_went_wrong(superuser: Client) -> None:
    job = make_job(
        state="succeeded", attempt=3, failures=1, losses=1, enqueued_at=Now() - timedelta(hours=1)
    )
    attempt(job, 1, "retried", exception_class_path="builtins.OSError", message="disk full")
    attempt(job, 2, "lost", reason="lost", exception_class_path="jobs.errors.JobLost", message="m")

    told = events(superuser, job)

    assert told[0] == "enqueued"
    assert told[1].startswith("attempt 1 on web-1/1 after waiting for 1 min 00 s")
    assert told[2] == "failed, to be retried after 2.0 s"
    assert told[3].startswith("attempt 2")
    assert told[4] == "lost after 2.0 s"
    assert told[5].startswith("attempt 3 on tests/1")
    assert told[6].startswith("succeeded after")
    text = page(superuser, url_of(job))
    assert "OSError: disk full" in text
    assert "jobs.errors.JobLost: m" in text


def test_what_was_claimed_and_given_back_has_not_started(superuser: Client) -> None:
    job = make_job(attempt=1, last_attempted_at=Now())

    assert [words.partition(" for")[0] for words in events(superuser, job)] == [
        "enqueued", "waits",
    ]  # fmt: skip


def test_what_comes_next_after_a_failure(superuser: Client) -> None:
    job = make_job(error=OSError("x"), attempt=1, failures=1, run_at=Now() + timedelta(minutes=3))

    assert events(superuser, job)[-1] == "next attempt in 2 min 59 s"


def test_who_enqueued_it_is_told(superuser: Client) -> None:
    first = make_job(state="failed")
    again = first.run_again(by="grace")
    schedule = nightly()
    ticked = make_job(schedule_id=schedule.pk)
    orphan = make_job(schedule_id=987_654)

    follower = make_job(metadata={"follows": str(first.pk)})
    assert f">{first.pk}</a>" in events(superuser, follower)[0]
    assert events(superuser, again)[0].startswith("enqueued by grace once more: <a href=")
    assert str(first.pk) in events(superuser, again)[0]
    assert f">{schedule.name}</a>" in events(superuser, ticked)[0]
    assert events(superuser, orphan)[0] == "enqueued by a schedule that is gone"


def test_a_cancellation_tells_who_and_why(superuser: Client) -> None:
    queued, running = make_job(), make_job(state="running")
    for job in (queued, running):
        job.cancel(by="ada", because="a typo")

    assert events(superuser, queued)[-1] == "cancelled by ada a typo"
    stopped = make_job(state="cancelled", attempt=1, cancel_requested_at=Now())
    stopped.refresh()
    attempt(stopped, 1, "cancelled")
    assert [words.partition(" ")[0] for words in events(superuser, stopped)] == [
        "enqueued", "told", "attempt", "cancelled",
    ]  # fmt: skip
    assert "told to stop by ada a typo" in events(superuser, running)
    assert events(superuser, running)[-1].startswith("is running for")


def test_own_frames_are_set_off_and_paths_are_short() -> None:
    here = Path.cwd()
    text = (
        "Traceback (most recent call last):\n"
        f'  File "{here}/jobs/execution/call.py", line 62, in _execute\n    value = task.func()\n'
        f'  File "{here}/shop/tasks.py", line 7, in charge\n    bank.charge()\n    ^^^^\n'
        '  File "/srv/venv/lib/python3.11/site-packages/bank/api.py", line 3, in charge\n'
        "    raise Refused\n"
        '  File "/usr/lib/python3.11/json/decoder.py", line 5, in raw\n    x\n'
        '  File "/home/of/somebody/else/elsewhere/shop/models.py", line 1, in save\n    y\n'
        "bank.Refused: <no money>\n"
    )

    shown = str(tracebacks.shown(text))

    assert '<span class="jobs-own">  File &quot;shop/tasks.py&quot;, line 7, in charge' in shown
    assert '<span class="jobs-foreign">  File &quot;bank/api.py&quot;, line 3' in shown
    assert '<span class="jobs-foreign">  File &quot;json/decoder.py&quot;' in shown
    assert '<span class="jobs-foreign">  File &quot;jobs/execution/call.py&quot;' in shown
    assert '<span class="jobs-own">  File &quot;…/elsewhere/shop/models.py&quot;' in shown
    assert '<span class="jobs-said">bank.Refused: &lt;no money&gt;' in shown
    assert str(here) not in shown
    assert [str(frame) for frame in frames.own(text)] == [
        "shop/tasks.py:7, charge", "…/elsewhere/shop/models.py:1, save",
    ]  # fmt: skip
    # The same wherever it stands, and whatever it says.
    moved = text.replace("line 7", "line 70").replace("no money", "no card")
    assert frames.fingerprint("bank.Refused", moved) == frames.fingerprint("bank.Refused", text)
    others = {
        frames.fingerprint("bank.Refused", text),
        frames.fingerprint("bank.Gone", text),
        frames.fingerprint("bank.Refused", text.replace("line 7, in charge", "line 7, in pay")),
        frames.fingerprint("bank.Refused", ""),
    }
    assert {len(one) for one in others} == {16}
    assert len(others) == 4


@pytest.mark.parametrize(
    "text", ["", "no traceback at all", "a\nb\n", '  File "x", line 1, in y\n']
)
def test_whatever_was_kept_is_shown(text: str) -> None:
    shown = str(tracebacks.shown(text))

    assert all(
        line.split(",")[0].strip() in shown.replace("&quot;", '"') for line in text.splitlines()
    )


def test_large_payloads_are_folded(superuser: Client) -> None:
    small = make_job(tasks.plain, ["a" * 100])
    large = make_job(tasks.plain, ["b" * 5_000], state="succeeded", result=["c" * 9_000])

    assert "<details><summary>" not in page(superuser, url_of(small)).partition("as Python")[0]
    text = page(superuser, url_of(large))
    assert "characters · " in text
    assert text.count("<details><summary>") >= 2


def test_it_is_copied_as_the_python_that_makes_one_like_it(db: None) -> None:
    ada = User.objects.create(username="ada")
    moment = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    args = [
        1, 2.5, 1e20, "a'b", None, True, [1, (2, 3)], {"k": Decimal("1.10")}, {1: "x"}, {4},
        frozenset([5]), moment, moment.date(), moment.time(), timedelta(days=1, seconds=2),
        UUID(int=7), b"\x00\xff", ada,
    ]  # fmt: skip
    encoded = codec.encode(args, "x")
    job = make_job("tests.tasks.plain", ["a"])
    job.arguments = {"args": encoded, "kwargs": {}}
    names: dict[str, Any] = {}
    text = as_python(job)
    assert HIDDEN not in text
    code = text.replace("enqueue(plain, ", "told = (").replace("from jobs import enqueue\n", "")
    exec(code, names)
    assert list(names["told"]) == args
    assert names["told"][11].fold == 1
    assert "from jobs import enqueue\nfrom tests.tasks import plain\n\nenqueue(plain, 1," in text


def test_a_copy_leaves_out_what_is_sensitive_and_survives_what_sql_wrote(superuser: Client) -> None:
    secret = sign_in.enqueue("ada", password="secret")
    assert "secret" not in page(superuser, url_of(secret))
    assert "sign_in('ada', password='••••••')" not in as_python(secret)
    assert "enqueue(sign_in, 'ada', password='••••••')" in as_python(secret)
    for wrong in (
        [],
        "x",
        {"args": [{"$jobs": 7}, {"$jobs": ["datetime", "x"]}]},
        {"args": [{"$jobs": ["time", []]}]},
        {"args": None},
    ):
        job = make_job("tests.tasks.plain")
        Job.objects.filter(pk=job.pk).update(arguments=wrong)
        page(superuser, url_of(job))


def test_the_newest_jobs_of_the_task_are_drawn_each_with_a_link(superuser: Client) -> None:
    jobs = [make_job("a.b", state="failed" if i % 3 else "succeeded") for i in range(9)]
    make_job("a.c", state="failed")

    text = page(superuser, url_of(jobs[4]))

    assert text.count("jobs-life jobs-") == 9
    assert "jobs-this" in text
    assert url_of(jobs[0]) in text
    assert "6 of these have failed" in text
    assert "state=failed&amp;task=a.b" in text or "task=a.b&amp;state=failed" in text


def test_it_is_downloaded_whole_but_for_what_one_may_not_see(db: None) -> None:
    job = sign_in.enqueue("ada", password="secret")
    attempt(job, 1, "retried", exception_class_path="builtins.OSError", message="disk full")
    job.cancel()

    answer = client_with(is_superuser=True).get(url_of(job, "download"))
    told = json.loads(answer.content)

    assert f'filename="job-{job.pk}.json"' in answer.headers["Content-Disposition"]
    assert (told["id"], told["task"]) == (str(job.pk), "tests.test_admin.sign_in")
    assert told["arguments"] == {"args": ["ada"], "kwargs": {"password": "••••••"}}
    assert told["attempts"][0]["message"] == "disk full"
    few = Client()
    few.force_login(user_with("view_job", name="eve"))
    told = json.loads(few.get(url_of(job, "download")).content)
    assert "arguments" not in told
    assert set(told["attempts"][0]) == {
        "attempt", "outcome", "reason", "worker", "started_at", "finished_at", "fingerprint",
    }  # fmt: skip


def test_its_life_is_read_anew_until_it_has_ended(superuser: Client) -> None:
    job = make_job(state="running", progress_done=1, progress_total=4)

    text = page(superuser, url_of(job, "life"))
    assert '<progress max="100" value="25">' in text
    assert f'data-url="{url_of(job, "life")}"' in text
    Job.objects.filter(pk=job.pk).update(state="succeeded", finished_at=Now())
    assert 'data-url=""' in page(superuser, url_of(job, "life"))


def test_retry_and_run_again_leave_a_log_entry(superuser: Client) -> None:
    job = make_job(state="failed")

    superuser.post(url_of(job, "retry"))
    job.refresh()
    assert job.state == "queued"
    text = superuser.post(url_of(job, "retry"), follow=True).content.decode()
    assert "only what failed or was cancelled can be retried" in text
    superuser.post(url_of(job, "again"))
    # It has not ended: there is nothing to do again.
    assert Job.objects.count() == 1
    job.cancel()
    superuser.post(url_of(job, "again"))
    assert Job.objects.count() == 2
    assert LogEntry.objects.count() == 2


def test_nobody_sees_anything_without_the_permission(db: None) -> None:
    job = make_job(state="failed")
    eve = client_with("view_queue", "retry_job", "cancel_job", "run_job")

    for verb in ("change", "life", "download"):
        assert eve.get(url_of(job, verb)).status_code == 403
    for verb in ("retry", "again"):
        assert eve.post(url_of(job, verb)).status_code == 403
    assert Client().get(url_of(job)).status_code == 302
    job.refresh()
    assert job.state == "failed"


def test_the_page_asks_few_questions(superuser: Client) -> None:
    job = enqueue(tasks.noop)
    for number in range(1, 20):
        attempt(job, number, "retried")
    for _ in range(50):
        make_job("tests.tasks.noop", state="succeeded")

    with CaptureQueriesContext(connection) as asked:
        page(superuser, url_of(job))
    assert len([one for one in asked if "SAVEPOINT" not in one["sql"]]) <= 10
    with CaptureQueriesContext(connection) as asked:
        page(superuser, url_of(job, "life"))
    assert len(asked) <= 5


def test_what_a_task_says_of_its_progress_is_payload(db: None) -> None:
    job = make_job(
        state="running", progress_done=1, progress_total=4, progress_message="of Bob",
        metadata={"enqueued_by": {"token": "XYZ"}},
    )  # fmt: skip
    few, all_ = client_with("view_job"), Client()
    all_.force_login(user_with(name="grace", is_superuser=True))

    for path in (url_of(job), "/admin/jobs/job/"):
        assert "of Bob" in page(all_, path)
        text = page(few, path)
        assert "1 of 4" in text
        assert "of Bob" not in text
        assert "XYZ" not in text


def test_of_many_attempts_the_last_are_shown_and_the_cause_on_top(superuser: Client) -> None:
    job = make_job(
        state="failed", attempt=7, failures=7, max_attempts=7, error=OSError("last"),
        enqueued_at=Now() - timedelta(hours=1),
    )  # fmt: skip
    for number in range(1, 7):
        attempt(job, number, "retried", exception_class_path="a.B", message=f"no {number}")

    shown = superuser.get(url_of(job))

    assert shown.context["early_count"] == 4
    assert shown.context["last_error"] == "OSError: last"
    text = shown.content.decode()
    assert "4 earlier attempts" in text
    assert "7, at most 7" in text
    assert "no 1" in text


def test_a_running_job_is_told_to_stop_once(superuser: Client) -> None:
    job = make_job(state="running")
    assert "Cancel…" in page(superuser, url_of(job))
    job.cancel(by="ada")

    text = page(superuser, url_of(job))

    assert "Cancel…" not in text
    assert "told to stop" in text
