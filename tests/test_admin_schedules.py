"""Schedules in the admin: seen, made, changed, run now, by those who may."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.contrib.admin.models import LogEntry
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from jobs import Job, beat
from jobs.admin.payload import HIDDEN
from jobs.models import Schedule
from tests.test_admin import client_with, page, sign_in, user_with

LIST = "/admin/jobs/schedule/"
ADD = f"{LIST}add/"
# What the form sends when nobody has changed anything.
EMPTY = {
    "name": "it", "task": "tests.tasks.add", "args": "[1]", "kwargs": "{}", "kind": "cron",
    "line": "0 3 * * *", "days": "either", "enabled": "on", "catch_up": "latest",
    "catch_up_limit": "100", "overlap": "allow",
}  # fmt: skip


@pytest.fixture
def superuser(transactional_db: None) -> Client:
    return client_with(is_superuser=True)


def nightly(**more: Any) -> Schedule:
    columns = {
        "name": "it", "task": "tests.tasks.add", "kind": "cron", "line": "0 3 * * *",
        "arguments": {"args": [1], "kwargs": {}},
    }  # fmt: skip
    return Schedule.objects.create(**columns | more)


def change(row: Schedule) -> str:
    return f"{LIST}{row.pk}/change/"


# The list.


def test_the_list_tells_when_each_runs_and_what_came_of_it(
    superuser: Client, connect: Callable[[], psycopg.Connection[Any]]
) -> None:
    row = nightly()
    step = beat.Beat(connect()).step
    step()
    Schedule.objects.update(next_run_at=Now())
    step()
    job = Job.objects.get()
    beat.run_now(row).cancel()
    bad = beat.run_now(row)
    Job.objects.filter(pk=bad.pk).update(
        state="failed", claimable=False, failed_at=Now(), finished_at=Now()
    )

    text = page(superuser, LIST)

    assert "At 03:00" in text
    assert 'title="0 3 * * *"' in text
    assert "jobs-failed" in text
    assert f"/admin/jobs/job/{Job.objects.order_by('-id')[0].pk}/change/" in text
    # Cancelled, and still queued: neither good nor bad.
    assert "3 runs, 1 failed" in text
    assert text.count("<rect") == 2
    assert "&lt;" not in text
    assert str(job.pk) not in text


def test_the_list_tells_what_is_wrong(superuser: Client) -> None:
    nightly(name="bad")
    Schedule.objects.update(problem="TaskNotFound: gone", next_run_at=Now())
    nightly(name="late")
    Schedule.objects.filter(name="late").update(next_run_at=Now() - timedelta(minutes=5))
    nightly(name="unplanned")
    nightly(name="unreadable", line="not a line")
    nightly(name="skipped")
    Schedule.objects.filter(name="skipped").update(skips=2, skipped_because="overlap")

    text = page(superuser, LIST)

    assert "TaskNotFound: gone" in text
    assert "no beat has served it for 5" in text
    assert "as soon as a beat has planned it" in text
    assert "has 3 fields" in text
    assert "skipped 2 times: the last run still lived" in text
    assert "bad" in page(superuser, f"{LIST}?health=bad")
    assert "unplanned" not in page(superuser, f"{LIST}?health=bad")


def test_a_page_of_schedules_takes_few_queries(
    superuser: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        nightly(name=f"s{number}")
    page(superuser, LIST)

    with django_assert_max_num_queries(9):
        page(superuser, LIST)


# The form.


def test_a_schedule_is_made_by_hand(superuser: Client) -> None:
    given = {
        "queue_name": "slow", "priority": "5", "timeout": "00:05:00", "overlap": "skip",
        "timezone": "Europe/Berlin", "metadata": '{"by": "ada"}', "jitter": "30",
    }  # fmt: skip
    answer = superuser.post(ADD, EMPTY | given)
    assert answer.status_code == 302, answer.context["adminform"].form.errors

    row = Schedule.objects.get()
    assert (row.source, row.task, row.timezone) == ("hand", "tests.tasks.add", "Europe/Berlin")
    assert row.arguments == {"args": [1], "kwargs": {}}
    assert (row.queue_name, row.priority, row.overlap) == ("slow", 5, "skip")
    assert (row.timeout, row.jitter) == (timedelta(minutes=5), timedelta(seconds=30))
    assert row.stale_since is not None
    assert LogEntry.objects.get().is_addition()
    assert "At 03:00 (Europe/Berlin)" in page(superuser, change(row))


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"line": "0 3 30 2 *"}, "line", "names no date"),
        ({"line": "R * * * *"}, "line", "random"),
        ({"line": ""}, "line", "Needed for this kind"),
        ({"args": "[1, 2, 3]"}, "args", "too many positional"),
        ({"args": "{}"}, "args", "JSON list"),
        ({"kwargs": '{"c": 1}'}, "args", "unexpected keyword"),
        ({"task": "os.system"}, "task", "not one of the available choices"),
        ({"timezone": "Mars/Olympus"}, "timezone", "not one of the available choices"),
        ({"priority": "1000"}, "priority", "from -100 to 100"),
        ({"queue_name": "a,b"}, "queue_name", "commas"),
        ({"kind": "interval"}, "interval", "Needed for this kind: Interval"),
        ({"kind": "interval", "interval": "0.5"}, "interval", "shorter than one second"),
        ({"kind": "at", "anchor_0": "2020-01-01", "anchor_1": "00:00"}, "anchor", "in the past"),
        ({"kind": "solar", "event": "sunrise", "latitude": "91", "longitude": "1"}, "latitude", ""),
        ({"catch_up_limit": "0"}, "catch_up_limit", "from 1 to 1000"),
        ({"tick_argument": "c"}, "args", "unexpected keyword"),
    ],
)
def test_what_a_beat_would_choke_on_is_refused_at_its_field(
    superuser: Client, given: dict[str, str], field: str, words: str
) -> None:
    answer = superuser.post(ADD, EMPTY | given)

    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert list(errors) == [field], errors
    assert words in errors[field][0]
    assert not Schedule.objects.exists()


def test_an_edit_is_kept_and_told(superuser: Client) -> None:
    row = nightly()
    answer = superuser.post(change(row), EMPTY | {"line": "0 4 * * *", "args": "[2]"})
    assert answer.status_code == 302

    row.refresh_from_db()
    assert (row.line, row.arguments["args"]) == ("0 4 * * *", [2])
    assert "Cron line" in LogEntry.objects.get().get_change_message()


def test_of_a_declared_schedule_only_the_switch_is_the_operators(superuser: Client) -> None:
    row = nightly(source="code")
    text = page(superuser, change(row))
    assert "declared in code" in text
    assert 'name="line"' not in text

    superuser.post(change(row), {"line": "0 4 * * *"})

    row.refresh_from_db()
    assert (row.line, row.enabled) == ("0 3 * * *", False)
    assert superuser.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    Schedule.objects.update(retired_at=Now())
    assert superuser.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 302


def test_the_preview_tells_what_is_typed(superuser: Client) -> None:
    def told(**given: str) -> dict[str, Any]:
        answer = superuser.post(f"{LIST}preview/", EMPTY | given)
        found: dict[str, Any] = answer.json()
        return found

    good = told(timezone="Europe/Berlin", name="")
    assert good["words"] == "At 03:00 (Europe/Berlin)"
    assert len(good["runs"]) == 10
    assert all("03:00:00 CE" in run for run in good["runs"])
    assert good["signature"] == "add(a: 'int', b: 'int' = 1)"
    assert good["error"] == ""
    assert "names no date" in told(line="0 3 30 2 *")["error"]
    assert "missing a required argument" in told(args="")["error"]
    assert "Jitter" in told(jitter="abc")["error"]
    # What is not typed yet is no mistake yet.
    assert told(line="", name="")["error"] == ""
    assert len(told(max_runs="3")["runs"]) == 3
    tomorrow = (timezone.now() + timedelta(days=1)).date().isoformat()
    once = told(kind="at", anchor_0=tomorrow, anchor_1="12:00")
    assert len(once["runs"]) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"metadata": "NaN"}, {"metadata": '{"a": "\\u0000"}'}, {"metadata": "[1]"},
        {"args": "1e999"}, {"args": '["\\ud800"]'}, {"args": "[" * 2000 + "]" * 2000},
        {"args": '[{"$jobs": ["bogus", 1]}]'}, {"metadata": '{"$jobs": 5}'},
        {"kwargs": "[]"}, {"ends_at_0": "2020-01-01", "ends_at_1": "00:00"},
        {"starts_at_0": "9999-12-31", "starts_at_1": "00:00"}, {"name": "taken"},
    ],
)  # fmt: skip
def test_odd_values_are_refused_and_break_no_page(superuser: Client, given: dict[str, str]) -> None:
    nightly(name="taken")

    answer = superuser.post(ADD, EMPTY | given)

    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors
    assert superuser.post(f"{LIST}preview/", EMPTY | given).status_code == 200
    assert Schedule.objects.count() == 1


def test_arguments_that_json_has_no_word_for_stay_as_they_are_kept(superuser: Client) -> None:
    day = {"$jobs": ["date", "2026-05-01"]}
    row = nightly(arguments={"args": [1, day], "kwargs": {}})

    answer = superuser.post(change(row), EMPTY | {"args": json.dumps([2, day])})

    assert answer.status_code == 302
    row.refresh_from_db()
    assert row.arguments == {"args": [2, day], "kwargs": {}}


def test_what_a_task_calls_sensitive_is_shown_to_nobody_and_stays(superuser: Client) -> None:
    row = nightly(
        task=f"{sign_in.module_path}",
        arguments={"args": ["ada"], "kwargs": {"password": "hunter2"}},
    )
    text = page(superuser, change(row))
    assert "hunter2" not in text
    viewer = Client()
    viewer.force_login(user_with("view_schedule", "view_payload"))
    assert "hunter2" not in page(viewer, change(row))
    assert "ada" in page(viewer, change(row))
    blind = Client()
    blind.force_login(user_with("view_schedule", name="blind"))
    assert "&quot;ada&quot;" not in page(blind, change(row))

    answer = superuser.post(
        change(row),
        EMPTY
        | {
            "task": row.task,
            "args": '["eve"]',
            "kwargs": json.dumps({"password": HIDDEN}),
        },
    )

    assert answer.status_code == 302
    row.refresh_from_db()
    assert row.arguments == {"args": ["eve"], "kwargs": {"password": "hunter2"}}


@pytest.mark.parametrize(
    "given",
    [
        # Through another task, under another name, or where nothing was hidden.
        {"task": "tests.tasks.add", "args": json.dumps([HIDDEN])},
        {"args": json.dumps(["ada", HIDDEN]), "kwargs": "{}"},
        {"args": json.dumps([HIDDEN])},
    ],
)
def test_what_is_hidden_cannot_be_brought_to_light(
    superuser: Client, given: dict[str, str]
) -> None:
    kept = {"args": ["ada"], "kwargs": {"password": "hunter2"}}
    row = nightly(task=sign_in.module_path, arguments=kept)
    same = {"task": row.task, "args": '["ada"]', "kwargs": json.dumps({"password": HIDDEN})}

    answer = superuser.post(change(row), EMPTY | same | given)

    assert answer.status_code == 200
    assert "hunter2" not in answer.content.decode()
    row.refresh_from_db()
    assert row.arguments == kept


def test_a_row_that_sql_has_spoilt_can_be_seen_and_mended(superuser: Client) -> None:
    row = nightly()
    Schedule.objects.update(arguments=5, kind="interval", interval=timedelta(1), anchor=Now())

    assert superuser.get(change(row)).status_code == 200
    assert superuser.get(LIST).status_code == 200
    superuser.post(f"{LIST}{row.pk}/run/")
    assert not Job.objects.exists()
    assert superuser.post(change(row), EMPTY).status_code == 302
    row.refresh_from_db()
    assert row.arguments == {"args": [1], "kwargs": {}}


def test_a_kind_without_what_it_needs_is_refused_and_breaks_no_page(superuser: Client) -> None:
    row = nightly()

    answer = superuser.post(change(row), EMPTY | {"kind": "at"})

    assert answer.status_code == 200
    assert "anchor" in answer.context["adminform"].form.errors


def test_metadata_is_payload(superuser: Client) -> None:
    row = nightly(metadata={"card": "4111"})
    viewer = Client()
    viewer.force_login(user_with("view_schedule"))

    assert "4111" not in page(viewer, change(row))


def test_a_schedule_that_ticks_no_more_says_so(superuser: Client) -> None:
    nightly(name="done")
    Schedule.objects.update(next_run_at=None, stale_since=None)
    nightly(name="off", enabled=False)

    text = page(superuser, LIST)

    assert "ended" in text
    assert "disabled" in text


# Actions.


def test_schedules_are_enabled_disabled_and_run_now(superuser: Client) -> None:
    row = nightly()
    selected = {"_selected_action": [row.pk]}

    superuser.post(LIST, {**selected, "action": "disable"})
    row.refresh_from_db()
    assert (row.enabled, row.next_run_at) == (False, None)
    superuser.post(LIST, {**selected, "action": "enable"})
    row.refresh_from_db()
    assert row.enabled
    superuser.post(LIST, {**selected, "action": "run_now"})
    superuser.post(f"{LIST}{row.pk}/run/")

    assert [job.schedule_id for job in Job.objects.all()] == [row.pk, row.pk]
    told = [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]
    words = [one.split()[1] for one in told]
    assert words == ["disabled.", "enabled.", "run", "run"], told


def test_run_now_says_why_it_cannot(superuser: Client) -> None:
    row = nightly(task="tests.tasks.vanished")

    answer = superuser.post(f"{LIST}{row.pk}/run/", follow=True)

    assert "there is no task" in answer.content.decode()
    assert not Job.objects.exists()


def test_to_see_to_change_and_to_run_are_permissions_of_their_own(transactional_db: None) -> None:
    row = nightly()
    client = client_with("view_schedule")

    assert 'name="line"' not in page(client, change(row))
    page(client, LIST)
    assert client.get(ADD).status_code == 403
    assert client.post(f"{LIST}preview/", EMPTY).status_code == 403
    assert client.post(f"{LIST}{row.pk}/run/").status_code == 403
    assert client.post(change(row), EMPTY).status_code == 403
    for action in ("enable", "disable", "run_now"):
        client.post(LIST, {"_selected_action": [row.pk], "action": action})
    row.refresh_from_db()
    assert row.enabled
    assert not Job.objects.exists()


def test_a_one_off_is_shown_in_the_sites_own_time(superuser: Client) -> None:
    nightly(kind="at", line="", anchor=datetime(2030, 5, 1, 8, tzinfo=UTC))

    assert "Once: May 1, 2030, 8 a.m." in page(superuser, LIST)
