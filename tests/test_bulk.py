"""What is done to many jobs at once: told first, then done, and written down."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models.functions import Now
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import reverse

from jobs import Cancel, Job, lifecycle, task
from jobs.admin.jobs import background, doing, every
from jobs.admin.jobs.walk import Found
from jobs.models import Attempt, Queue, State, Worker
from jobs.testing import make_job, run_jobs, travel
from tests.test_admin import LIST, client_with
from tests.test_overview import worker

STATES = [state.value for state in State]


@pytest.fixture
def superuser(db: None) -> Client:
    return client_with(is_superuser=True)


@pytest.fixture
def each() -> dict[str, Job[Any]]:
    """A job in each state."""
    return {state: make_job(state=state) for state in STATES}


def ask(client: Client, action: str, jobs: Any, query: str = "", **said: str) -> HttpResponse:
    selected = [str(job.pk) for job in jobs]
    said = {"action": action, "_selected_action": selected, "index": "0"} | said  # type: ignore[dict-item]
    return client.post(LIST + query, said, follow=True)  # type: ignore[return-value]


def confirm(client: Client, action: str, jobs: Any, query: str = "", **said: str) -> str:
    """As the page's own form would."""
    shown = ask(client, action, jobs, query, **said)
    fields = dict(shown.context["form"].initial)  # type: ignore[attr-defined]
    selected = [str(job.pk) for job in jobs]
    sent = {"action": action, "_selected_action": selected, "confirmed": "1"} | fields | said
    sent["seen_at"] = shown.context["seen_at"]  # type: ignore[attr-defined]
    return client.post(LIST + query, sent, follow=True).content.decode()


def states() -> dict[str, int]:
    found: dict[str, int] = {}
    for state in Job.objects.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


@pytest.mark.parametrize(
    ("action", "done"),
    [
        ("retry", {"failed", "cancelled"}),
        ("cancel", {"waiting", "queued", "running"}),
        ("move", {"waiting", "queued"}),
        ("prioritise", {"waiting", "queued"}),
        ("again", {"succeeded", "failed", "cancelled"}),
        ("remove", {"succeeded", "failed", "cancelled"}),
    ],
)
def test_a_page_says_first_what_will_happen_to_how_many(
    superuser: Client, each: dict[str, Job[Any]], action: str, done: set[str]
) -> None:
    answer = ask(superuser, action, each.values())

    rows = answer.context["rows"]  # type: ignore[attr-defined]
    assert {row["state"].value for row in rows if row["is_done"]} == done
    assert {row["count"] for row in rows} == {"1"}
    text = answer.content.decode()
    assert text.count("will be left as they are") == 6 - len(done)
    assert "No, take me back" in text
    # So far nothing has.
    assert states() == dict.fromkeys(STATES, 1)
    assert not LogEntry.objects.exists()


def test_jobs_are_retried_later(superuser: Client, each: dict[str, Job[Any]]) -> None:
    text = confirm(superuser, "retry", each.values(), delay="30")

    assert "2 jobs are queued again." in text
    assert "4 jobs were left as they are" in text
    for state in ("failed", "cancelled"):
        job = each[state]
        job.refresh()
        assert (job.state, job.failures) == ("queued", 0)
        assert timedelta(minutes=29) < job.run_at - job.enqueued_at < timedelta(minutes=31)
    assert {entry.object_id for entry in LogEntry.objects.all()} == {
        str(each["failed"].pk), str(each["cancelled"].pk),
    }  # fmt: skip
    assert "delay=30" in str(LogEntry.objects.first().change_message)  # type: ignore[union-attr]


def test_jobs_are_cancelled_for_a_reason(superuser: Client, each: dict[str, Job[Any]]) -> None:
    text = confirm(superuser, "cancel", each.values(), because="a typo")

    assert "3 jobs are cancelled; those that were running are told to stop." in text
    for state in ("waiting", "queued"):
        each[state].refresh()
        assert (each[state].state, each[state].cancelled_by, each[state].cancelled_because) == (
            "cancelled", "ada", "a typo",
        )  # fmt: skip
    each["running"].refresh()
    assert each["running"].state == "running"
    assert each["running"].cancel_requested_at


def test_jobs_are_moved_and_given_a_priority(superuser: Client, each: dict[str, Job[Any]]) -> None:
    Queue.objects.create(name="slow")
    assert "2 jobs are moved to slow." in confirm(
        superuser, "move", each.values(), queue_name="slow"
    )
    assert Job.objects.filter(queue_name="slow").count() == 2
    text = confirm(superuser, "prioritise", each.values(), priority="-7")
    assert "2 jobs have the priority -7." in text
    assert Job.objects.filter(priority=-7).count() == 2
    assert (
        "100"
        in ask(
            superuser, "prioritise", each.values(), confirmed="1", priority="700"
        ).content.decode()
    )
    assert Job.objects.filter(priority=700).count() == 0


@override_settings(JOBS={"QUEUES": ["default", "mail"]})
def test_a_queue_that_settings_do_not_list_is_refused(superuser: Client) -> None:
    job = make_job()

    text = confirm(superuser, "move", [job], queue_name="mial")

    assert "mial is not one of the available choices" in text
    assert '<option value="mail">' in text
    job.refresh()
    assert job.queue_name == "default"


def test_only_what_has_ended_is_deleted_with_its_attempts(
    superuser: Client, each: dict[str, Job[Any]]
) -> None:
    assert Attempt.objects.count() == 1

    assert "3 jobs are deleted." in confirm(superuser, "remove", each.values())

    assert states() == {"waiting": 1, "queued": 1, "running": 1}
    assert not Attempt.objects.exists()
    assert LogEntry.objects.filter(action_flag=DELETION).count() == 3


def test_a_row_of_the_sites_that_needs_a_job_keeps_it_and_says_so(superuser: Client) -> None:
    job = make_job(state="succeeded")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE note (job_id uuid REFERENCES jobs_job)")
        cursor.execute("INSERT INTO note VALUES (%s)", [job.pk])

    text = confirm(superuser, "remove", [job])

    assert "PostgreSQL has refused it" in text
    assert "note" in text
    assert Job.objects.exists()


def test_all_that_match_are_done_on_every_page_and_no_other(
    superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(every, "PART", 7)
    monkeypatch.setattr(every, "_STEPS", (9,))
    for _ in range(60):
        make_job("a.b", state="failed")
        make_job("a.c", state="failed")
    make_job("a.b", state="cancelled")
    [first, *_] = Job.objects.failed()

    query = "?state=failed&task=a.b"
    shown = ask(superuser, "retry", [first], query, select_across="1")
    text = shown.content.decode()
    assert "state: <strong>failed</strong>, task: <strong>a.b</strong>" in text
    assert "<code>a.b</code> 60" in text
    assert shown.context["done"] == 60  # type: ignore[attr-defined]
    text = confirm(superuser, "retry", [first], query, select_across="1")

    assert "60 jobs are queued again." in text
    assert states() == {"queued": 60, "failed": 60, "cancelled": 1}
    # Not sixty entries, but one that says all.
    [entry] = LogEntry.objects.all()
    assert entry.object_repr == "state: failed, task: a.b"
    assert "retry: 60 jobs" in entry.change_message


@pytest.mark.parametrize(
    "query", ["", "?state=queued", "?queue=default", "?task=a.b", "?within=day"]
)
def test_all_of_a_list_are_cancelled_but_what_came_after_the_page(
    superuser: Client, query: str
) -> None:
    for _ in range(8):
        make_job("a.b")
    shown = ask(superuser, "cancel", Job.objects.all()[:1], query, select_across="1")
    late = make_job("a.b")
    sent = {
        "action": "cancel", "_selected_action": [str(late.pk)], "confirmed": "1",
        "select_across": "1", "because": "", "seen_at": shown.context["seen_at"],  # type: ignore[attr-defined]
    }  # fmt: skip
    superuser.post(LIST + query, sent)

    late.refresh()
    assert late.state == "queued"
    assert states() == {"queued": 1, "cancelled": 8}


def test_failures_with_an_error_are_retried_by_it(superuser: Client) -> None:
    for error in (OSError("a"), OSError("b"), KeyError("c")):
        make_job("a.b", state="failed", error=error)

    text = confirm(
        superuser, "retry", Job.objects.all()[:1], "?error=builtins.OSError", select_across="1"
    )

    assert "2 jobs are queued again." in text
    assert states() == {"queued": 2, "failed": 1}


def test_what_takes_too_long_is_left_for_another_time(
    superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(every, "PART", 5)
    monkeypatch.setattr(doing, "_LONGEST", 0.0)
    for _ in range(12):
        make_job("a.b")

    text = confirm(superuser, "cancel", Job.objects.all()[:1], select_across="1")

    assert "5 jobs are cancelled" in text
    assert "There may be more that match" in text
    assert states() == {"queued": 7, "cancelled": 5}


def test_verbs_are_offered_to_those_who_may(db: None) -> None:
    job = make_job(state="failed")
    may_retry = client_with("view_job", "retry_job")

    text = may_retry.get(LIST).content.decode()
    assert 'value="retry"' in text
    for other in ("cancel", "move", "prioritise", "remove"):
        assert f'value="{other}"' not in text
        confirm_it = {"action": other, "_selected_action": [str(job.pk)], "confirmed": "1"}
        may_retry.post(LIST, confirm_it | {"queue_name": "x", "priority": "1", "because": ""})
    job.refresh()
    assert (job.state, job.queue_name, job.priority) == ("failed", "default", 0)
    assert "1 job is queued again." in confirm(may_retry, "retry", [job])


def test_a_jobs_own_page_leads_through_the_same_and_back(superuser: Client) -> None:
    job = make_job(state="running")
    url = reverse("admin:jobs_job_change", args=[job.pk])
    assert "Cancel…" in superuser.get(url).content.decode()

    shown = ask(superuser, "cancel", [job], of_one="1")
    assert url in shown.content.decode()
    answer = superuser.post(
        LIST,
        {
            "action": "cancel", "_selected_action": [str(job.pk)], "confirmed": "1",
            "of_one": "1", "because": "enough", "seen_at": shown.context["seen_at"],  # type: ignore[attr-defined]
        },
    )  # fmt: skip

    assert answer.headers["Location"] == url
    job.refresh()
    assert job.cancelled_because == "enough"


def test_a_move_brings_nothing_in_before_what_runners_have_seen(db: None) -> None:
    long_ago = make_job(run_at=Now() - timedelta(hours=1))
    later = make_job(run_at=Now() + timedelta(hours=1))
    before = later.run_at

    lifecycle.move([long_ago.pk, later.pk], queue_name="slow", using="default")

    long_ago.refresh()
    later.refresh()
    assert long_ago.run_at > long_ago.enqueued_at - timedelta(minutes=1)
    assert later.run_at == before


def test_what_ends_after_the_page_was_shown_is_left_alone(superuser: Client) -> None:
    running, failed = make_job(state="running"), make_job(state="failed")
    shown = ask(superuser, "remove", [running, failed])
    Job.objects.filter(pk=running.pk).update(state="succeeded", finished_at=Now(), claim=None)

    superuser.post(
        LIST,
        {
            "action": "remove", "_selected_action": [str(running.pk), str(failed.pk)],
            "confirmed": "1", "seen_at": shown.context["seen_at"],  # type: ignore[attr-defined]
        },
    )  # fmt: skip

    assert [job.pk for job in Job.objects.all()] == [running.pk]


@pytest.mark.parametrize(
    "seen_at", ["", "x", "2026-01-01", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"]
)
def test_nothing_is_done_that_no_page_has_told(superuser: Client, seen_at: str) -> None:
    job = make_job(state="failed")
    sent = {
        "action": "remove", "_selected_action": [str(job.pk)], "confirmed": "1",
        "seen_at": seen_at,
    }  # fmt: skip

    for said in (sent, sent | {"select_across": "1"}, sent | {"_selected_action": "zz"}):
        assert superuser.post(LIST, said | {"of_one": "1"}).status_code in (200, 302, 400)
    assert Job.objects.exists()


def test_across_all_is_what_djangos_own_form_says_it_is(superuser: Client) -> None:
    jobs = [make_job() for _ in range(3)]

    shown = ask(superuser, "cancel", jobs[:1], select_across="on")

    assert shown.context["is_all"]  # type: ignore[attr-defined]
    assert shown.context["done"] == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("action", ["prioritise", "move"])
def test_what_a_verb_changes_does_not_come_again(
    superuser: Client, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes further down in the very order in which all are walked."""
    monkeypatch.setattr(every, "PART", 7)
    Queue.objects.create(name="zzz")
    for _ in range(40):
        make_job()

    text = confirm(
        superuser, action, Job.objects.all()[:1], "?state=queued", select_across="1",
        priority="-5", queue_name="zzz",
    )  # fmt: skip

    assert "40 jobs " in text
    assert "There may be more" not in text


def test_a_walk_that_was_cut_off_is_told(
    superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_job(state="failed")
    monkeypatch.setattr(every, "walk", lambda *_, **__: Found([], "", 0, is_cut=True))

    text = confirm(superuser, "remove", Job.objects.all()[:1], select_across="1")

    assert "There may be more that match" in text


def test_histories_tell_what_was_done(superuser: Client) -> None:
    job = make_job(state="failed")
    confirm(superuser, "retry", [job], delay="5")
    confirm(superuser, "cancel", [job], because="a typo")
    superuser.post(reverse("admin:jobs_job_retry", args=[job.pk]))
    again = job.run_again()
    superuser.post(reverse("admin:jobs_job_again", args=[again.pk]))

    text = superuser.get(reverse("admin:jobs_job_history", args=[job.pk])).content.decode()

    for said in ("retry delay=5", "cancel because=a typo", "Changed retry"):
        assert said in text, said


def test_what_a_trigger_refuses_is_told_and_what_was_done_is_in_the_log(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    superuser = client_with(is_superuser=True)
    monkeypatch.setattr(every, "PART", 1)
    jobs = [make_job(state="failed") for _ in range(4)]
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'not this one'; END $$"
        )
        drop = "DROP FUNCTION IF EXISTS refuse CASCADE"
        request.addfinalizer(lambda: connection.cursor().execute(drop))
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON jobs_job FOR EACH ROW "
            f"WHEN (OLD.id = '{jobs[1].pk}') EXECUTE FUNCTION refuse()"
        )

    text = confirm(superuser, "retry", jobs[:1], "?state=failed", select_across="1")

    assert "not this one" in text
    assert "2 jobs are queued again." in text
    assert Job.objects.queued().count() == 2
    assert "retry: 2 jobs" in LogEntry.objects.get().change_message


# With other arguments.


@task
def charge(order: int, *, amount: Decimal = Decimal(1), note: str | None = None) -> None: ...


def test_many_jobs_are_run_again_with_the_same_change(superuser: Client) -> None:
    jobs = [
        make_job(charge, [i], {"amount": Decimal(i), "note": "x"}, state="failed") for i in range(3)
    ]
    left = make_job(charge, [9])
    shown = ask(superuser, "again", [*jobs, left])
    text = shown.content.decode()
    assert "change amount" in text
    sent = {
        "confirmed": "1", "seen_at": shown.context["seen_at"], "arg-set-amount": "on",  # type: ignore[attr-defined]
        "arg-amount": "2.50", "arg-set-note": "on", "arg-note": "", "arg-order": "77",
    }  # fmt: skip
    preview = ask(superuser, "again", [*jobs, left], **sent, preview="1").content.decode()
    assert "charge(0, note=&#x27;x&#x27;, amount=Decimal(&#x27;0&#x27;))" in preview
    assert "charge(0, amount=Decimal(&#x27;2.50&#x27;), note=None)" in preview
    assert "charge(9" not in preview
    assert Job.objects.count() == 4
    wrong = ask(superuser, "again", jobs, **sent | {"arg-amount": "much"}).content.decode()
    assert "Enter a number." in wrong

    told = ask(superuser, "again", [*jobs, left], **sent).content.decode()
    assert "3 jobs are run again, as new ones." in told
    assert "1 job was left as it is" in told
    made = Job.objects.exclude(pk__in=[job.pk for job in [*jobs, left]]).order_by("pk")
    assert [job.args for job in made] == [[0], [1], [2]]
    assert {job.kwargs["amount"] for job in made} == {Decimal("2.50")}
    assert {job.metadata["again_of"] for job in made} == {str(job.pk) for job in jobs}
    assert {tuple(job.metadata["changed"]) for job in made} == {("amount", "note")}
    assert {job.state for job in made} == {"queued"}


def test_many_jobs_are_run_again_as_they_were(superuser: Client) -> None:
    jobs = [make_job("gone.away", [i], state="failed") for i in range(2)]
    other = make_job(charge, [1], state="succeeded")

    text = ask(superuser, "again", [*jobs, other]).content.decode()
    assert "arg-set" not in text
    assert "3 jobs are run again" in confirm(superuser, "again", [*jobs, other])
    assert Job.objects.queued().filter(task="gone.away").count() == 2


def test_what_a_change_does_not_fit_is_left(superuser: Client) -> None:
    good, odd = (make_job(charge, [1], state="failed") for _ in range(2))
    Job.objects.filter(pk=odd.pk).update(arguments={"args": [1, 2, 3], "kwargs": {}})
    shown = ask(superuser, "again", [good, odd])
    sent = {
        "confirmed": "1", "seen_at": shown.context["seen_at"], "arg-set-order": "on",  # type: ignore[attr-defined]
        "arg-order": "5",
    }  # fmt: skip

    preview = ask(superuser, "again", [good, odd], **sent, preview="1").content.decode()
    assert "cannot be changed so" in preview
    assert "1 job is run again" in ask(superuser, "again", [good, odd], **sent).content.decode()


def test_who_may_not_see_arguments_changes_none(db: None) -> None:
    few = client_with("view_job", "run_job")
    job = make_job(charge, [1], state="failed")

    assert "arg-set" not in ask(few, "again", [job]).content.decode()
    assert "1 job is run again" in confirm(
        few, "again", [job], **{"arg-set-order": "on", "arg-order": "5"}
    )
    assert Job.objects.queued().get().args == [1]


# In the background.


@pytest.fixture
def many(db: None, monkeypatch: pytest.MonkeyPatch) -> list[Job[Any]]:
    """More than a request does, and a worker is there."""
    monkeypatch.setattr(background, "AT_ONCE", 10)
    monkeypatch.setattr(every, "PART", 4)
    worker()
    return [make_job(charge, [i], state="failed") for i in range(15)]


def the_bulk() -> Job[Any]:
    found: Job[Any] = Job.objects.get(task="jobs.admin.jobs.background.bulk")
    return found


def test_what_is_much_is_done_by_a_worker(superuser: Client, many: list[Job[Any]]) -> None:
    other = make_job("shop.other", state="failed")
    query = f"?state=failed&task={charge.name}"
    shown = ask(superuser, "retry", many[:1], query, select_across="1").content.decode()
    assert "a worker does it in the background" in shown

    text = confirm(superuser, "retry", many[:1], query, select_across="1", delay="30")
    job = the_bulk()
    assert f'<a href="/admin/jobs/job/{job.pk}/change/">Watch it, or stop it</a>' in text
    assert states() == {"failed": 16, "queued": 1}
    make_job(charge, state="failed")
    assert run_jobs(job) == [job]

    job.refresh()
    assert (job.state, job.return_value) == ("succeeded", 15)
    assert (job.progress_done, job.progress_total) == (15, 15)
    assert states() == {"succeeded": 1, "queued": 15, "failed": 2}
    other.refresh()
    assert other.state == "failed"
    assert {entry.user.username for entry in LogEntry.objects.all()} == {"ada"}
    assert sorted(entry.change_message for entry in LogEntry.objects.all()) == [
        "retry: 15 jobs that matched. delay=30", f"retry: begun, by the job {job.pk} delay=30",
    ]  # fmt: skip


def test_each_part_is_done_once_whenever_it_is_interrupted(
    superuser: Client, many: list[Job[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    confirm(superuser, "again", many[:1], "?state=failed", select_across="1")
    job, done = the_bulk(), lifecycle.again

    def dies(*args: Any, **named: Any) -> Job[Any]:
        # In the midst of the third part.
        if Job.objects.filter(metadata__has_key="again_of").count() == 10:
            raise OSError("the plug was pulled")
        return done(*args, **named)

    with monkeypatch.context() as patched:
        patched.setattr(lifecycle, "again", dies)
        run_jobs(job)
    job.refresh()
    assert (job.state, job.failures) == ("queued", 1)
    assert job.metadata["bulk"]["done"] == 8
    assert Job.objects.filter(metadata__has_key="again_of").count() == 8

    with travel(timedelta(hours=1)):
        run_jobs(job)
    job.refresh()
    assert (job.state, job.return_value) == ("succeeded", 15)
    repeated = Job.objects.filter(metadata__has_key="again_of")
    assert {row.metadata["again_of"] for row in repeated} == {str(one.pk) for one in many}
    assert repeated.count() == 15


def test_it_is_stopped_between_two_parts_and_what_is_done_stays(
    superuser: Client, many: list[Job[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    confirm(superuser, "retry", many[:1], "?state=failed", select_across="1")
    job, done = the_bulk(), every.do

    def stopped(*args: Any) -> int:
        if Job.objects.failed().count() == 7:
            raise Cancel("somebody has seen enough")
        return done(*args)

    monkeypatch.setattr(every, "do", stopped)
    run_jobs(job)
    job.refresh()

    assert job.state == "cancelled"
    assert job.metadata["bulk"]["done"] == 8
    assert (Job.objects.queued().count(), Job.objects.failed().count()) == (8, 7)


def test_who_clicks_twice_starts_it_once(superuser: Client, many: list[Job[Any]]) -> None:
    shown = ask(superuser, "again", many[:1], "?state=failed", select_across="1")
    sent = {"confirmed": "1", "select_across": "1", "seen_at": shown.context["seen_at"]}  # type: ignore[attr-defined]
    for _ in range(2):
        text = ask(superuser, "again", many[:1], "?state=failed", **sent).content.decode()
        assert "A worker does it in the background." in text

    assert the_bulk().state == "queued"


def test_the_form_is_of_the_job_that_it_was_made_of(superuser: Client) -> None:
    first = make_job(charge, [1], {"note": None}, state="failed")
    shown = ask(superuser, "again", [first])
    assert f'name="sample" value="{first.pk}"' in shown.content.decode()


def test_a_last_part_that_is_done_is_not_done_again(
    superuser: Client, many: list[Job[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    confirm(superuser, "again", many[:1], "?state=failed", select_across="1")
    job = the_bulk()

    def dies(*_: Any, **__: Any) -> None:
        raise OSError("the plug was pulled")

    with monkeypatch.context() as patched:
        patched.setattr(every, "write_down", dies)
        run_jobs(job)
    with travel(timedelta(hours=1)):
        run_jobs(job)
    job.refresh()

    assert (job.state, job.return_value) == ("succeeded", 15)
    assert Job.objects.filter(metadata__has_key="again_of").count() == 15


def test_another_attempt_of_it_does_not_do_it_at_once(
    superuser: Client, many: list[Job[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    confirm(superuser, "again", many[:1], "?state=failed", select_across="1")
    job, done = the_bulk(), every.do

    def overtaken(*args: Any) -> int:
        count = done(*args)
        Job.objects.filter(pk=job.pk).update(attempt=7)
        return count

    monkeypatch.setattr(every, "do", overtaken)
    run_jobs(job)

    # The part is rolled back, with what it had done.
    assert not Job.objects.filter(metadata__has_key="again_of").exists()


def test_what_somebody_has_stopped_nobody_starts_again(
    superuser: Client, many: list[Job[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    confirm(superuser, "retry", many[:1], "?state=failed", select_across="1")
    job = the_bulk()

    def stopped(*_: Any) -> int:
        raise Cancel("seen enough")

    with monkeypatch.context() as patched:
        patched.setattr(every, "do", stopped)
        run_jobs(job)
    job.retry()
    run_jobs(job)

    assert "somebody has stopped this" in job.history.latest("id").message
    assert Job.objects.failed().count() == 16


def test_a_filter_that_is_not_heeded_any_more_ends_it(many: list[Job[Any]]) -> None:
    few = client_with("view_job", "view_payload", "retry_job")
    others = [make_job(charge, [1], state="failed", error=KeyError("x")) for _ in range(12)]
    query = "?state=failed&error=builtins.KeyError&within=hour"
    confirm(few, "retry", others[:1], query, select_across="1")
    job = the_bulk()
    assert "within" not in job.kwargs["query"]
    view = Permission.objects.get(codename="view_payload")
    User.objects.get(username="ada").user_permissions.remove(view)
    run_jobs(job)

    assert "means something else by now" in job.history.latest("id").message
    assert Job.objects.filter(task=charge.name).failed().count() == 27


def test_no_argument_stands_in_the_log(superuser: Client) -> None:
    jobs = [make_job(charge, [1], state="failed") for _ in range(2)]
    shown = ask(superuser, "again", jobs)
    sent = {
        "confirmed": "1", "seen_at": shown.context["seen_at"], "arg-set-note": "on",  # type: ignore[attr-defined]
        "arg-note": "very secret",
    }  # fmt: skip
    ask(superuser, "again", jobs, **sent)

    told = " ".join(LogEntry.objects.values_list("change_message", flat=True))
    assert "with another note" in told
    assert "secret" not in told


def test_whoever_may_not_any_more_does_nothing_in_the_background(
    many: list[Job[Any]],
) -> None:
    few = client_with("view_job", "retry_job")
    confirm(few, "retry", many[:1], "?state=failed", select_across="1")
    User.objects.get(username="ada").user_permissions.clear()
    job = the_bulk()
    run_jobs(job)

    assert "may not retry jobs any more" in job.history.latest("id").message
    assert Job.objects.filter(task=charge.name).failed().count() == 15


def test_nobody_has_it_done_in_anothers_name(superuser: Client, many: list[Job[Any]]) -> None:
    confirm(superuser, "retry", many[:1], "?state=failed", select_across="1")
    job = the_bulk()
    Job.objects.filter(pk=job.pk).update(priority=-100)
    changed = job.arguments["kwargs"] | {"verb": "remove"}
    forged = lifecycle.again(job, arguments={"args": [], "kwargs": changed})
    repeated = job.run_again(by="eve")
    for one in (forged, repeated):
        run_jobs(one)
        one.refresh()
        assert "nobody has confirmed this" in one.history.latest("id").message

    assert Job.objects.filter(task=charge.name).failed().count() == 15
    shown = superuser.get(f"/admin/jobs/job/{job.pk}/change/").content.decode()
    assert job.kwargs["signature"] not in shown
    run_jobs(job)
    assert Job.objects.filter(task=charge.name).failed().count() == 0


def test_one_who_is_gone_does_nothing_in_the_background(
    superuser: Client, many: list[Job[Any]]
) -> None:
    confirm(superuser, "retry", many[:1], "?state=failed", select_across="1")
    User.objects.update(is_active=False)
    run_jobs(the_bulk())

    assert Job.objects.filter(task=charge.name).failed().count() == 15


def test_without_a_worker_it_is_done_at_once(superuser: Client, many: list[Job[Any]]) -> None:
    Worker.objects.update(heartbeat_at=Now() - timedelta(hours=1))

    text = confirm(superuser, "retry", many[:1], "?state=failed", select_across="1")

    assert "15 jobs are queued again." in text
    assert "in the background" not in text


def test_a_site_without_a_default_queue_does_it_in_one_that_it_has(db: None) -> None:
    with override_settings(JOBS={"QUEUES": ["mail", "reports"]}):
        assert background._task().queue_name == "mail"
    assert background._task().queue_name == "default"
    with override_settings(JOBS={"TASKS": {"jobs.admin.*": {"queue_name": "slow"}}}):
        assert background._task().queue_name == "slow"
