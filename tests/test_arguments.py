"""The arguments of a job, changed for another one: an input for each type, checked as `enqueue`."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Optional
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from jobs import Context, Job, codec, enqueue, task
from jobs.admin.jobs.arguments import ArgumentsForm, changed
from jobs.admin.jobs.inputs import NOTHING
from jobs.errors import InvalidCall
from jobs.models.references import load
from jobs.testing import make_job
from tests.test_admin import client_with, page

pytestmark = pytest.mark.django_db
BERLIN = ZoneInfo("Europe/Berlin")


@task
def of_all(
    number: int,
    share: float = 0.5,
    *,
    word: str = "a",
    is_on: bool = False,
    price: Decimal = Decimal("1.10"),
    day: date | None = None,
    at: Optional[datetime] = None,  # noqa: UP045
    clock: time | None = None,
    length: timedelta = timedelta(hours=1),
    key: UUID | None = None,
    raw: bytes = b"",
    user: User | None = None,
    many: list[int] | None = None,
    untold=None,  # type: ignore[no-untyped-def]
) -> None: ...


@task(takes_context=True)
def of_any(context: Context, first: int, /, second: int = 2, *rest: int, **more: Any) -> None: ...


@task(sensitive=("password",))
def of_a_secret(name: str, password: str) -> None: ...


def typed(form: ArgumentsForm) -> dict[str, Any]:
    """What a browser would send of the form as it is shown."""
    sent = {}
    for bound in form:
        value = bound.value()
        shown = bound.field.widget.format_value(value) if value is not None else ""
        sent[bound.html_name] = shown[0] if isinstance(shown, list) else (shown or "")
    return sent


def edited(job: Job[Any], made: Any, **said: Any) -> ArgumentsForm:
    sent = typed(ArgumentsForm(made, job.arguments))
    form = ArgumentsForm(made, job.arguments, sent | {f"arg-{k}": v for k, v in said.items()})
    form.is_valid()
    return form


def read(call: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    return codec.decode(call["args"], load), codec.decode(call["kwargs"], load)


def all_of_them() -> dict[str, Any]:
    return {
        "word": "x", "is_on": True, "price": Decimal("19.90"), "day": date(2026, 1, 2),
        "at": datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=BERLIN), "clock": time(4, 5, 6, 7),
        "length": timedelta(days=2, seconds=3), "key": UUID(int=7), "raw": b"\0\1",
        "user": User.objects.create_user("grace"), "many": [1, 2], "untold": {"a": (1, 2)},
    }  # fmt: skip


def test_what_nobody_changes_stays_just_as_it_is_kept() -> None:
    job = enqueue(of_all, 7, 0.25, **all_of_them())
    form = edited(job, of_all)

    assert form.is_valid(), form.errors
    assert form.changes == {}
    assert form.call == job.arguments


def test_what_a_browser_sends_of_what_nobody_changed_changes_nothing() -> None:
    """It leaves out seconds that are zero, and has its own ends of lines."""
    fold = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)
    job = enqueue(
        of_all, 7, word="two\nlines", at=fold, clock=time(4, 5, 0, 7000), day=date(2026, 1, 2)
    )
    shown = typed(ArgumentsForm(of_all, job.arguments))
    assert shown["arg-clock"] == "04:05:00.007"
    form = edited(job, of_all, word="two\r\nlines", at="2026-10-25T02:30", clock="04:05:00.007")

    assert form.is_valid(), form.errors
    assert form.changes == {}
    # Finer than a browser's own input knows: typed as a text.
    fields = ArgumentsForm(of_all, enqueue(of_all, 1, clock=time(1, 2, 3, 4)).arguments).fields
    assert fields["clock"].widget.input_type == "text"
    assert fields["clock"].initial == "01:02:03.000004"
    assert fields["at"].widget.input_type == "datetime-local"


def test_each_type_has_an_input_that_gives_it_back() -> None:
    other = User.objects.create_user("other")
    job = enqueue(of_all, 7, 0.25, **all_of_them())
    form = edited(
        job, of_all, number="8", share="0.75", word="  two\nlines ", is_on="false", price="3.50",
        day="2027-03-04", at="2027-03-04T05:06:07.5", clock="07:08", length="1 02:03:04",
        key=str(UUID(int=9)), raw="AgM=", user=str(other.pk), many="[3]", untold="[true, null]",
    )  # fmt: skip
    assert form.is_valid(), form.errors
    args, kwargs = read(form.call)

    assert args == [8, 0.75]
    assert kwargs == {
        "word": "  two\nlines ", "is_on": False, "price": Decimal("3.50"),
        "day": date(2027, 3, 4), "at": datetime(2027, 3, 4, 5, 6, 7, 500000, tzinfo=BERLIN),
        "clock": time(7, 8), "length": timedelta(days=1, hours=2, minutes=3, seconds=4),
        "key": UUID(int=9), "raw": b"\2\3", "user": other, "many": [3], "untold": [True, None],
    }  # fmt: skip
    assert kwargs["at"].tzinfo == BERLIN


def test_what_is_left_empty_is_none_where_that_may_be_and_else_not_given() -> None:
    job = enqueue(of_all, 7, day=date(2026, 1, 2), price=Decimal(2))
    form = edited(job, of_all, day="", price="")
    assert form.errors == {"price": ["This field is required."]}

    form = edited(job, of_all, day="", share="")
    assert form.is_valid(), form.errors
    assert read(form.call) == ([7], {"price": Decimal(2), "day": None})
    # Not given before, and given now.
    form = edited(job, of_all, at="2026-02-03T04:05", word="", length="0:00:01", is_on="true")
    assert form.is_valid(), form.errors
    args, kwargs = read(form.call)
    assert args == [7]
    assert kwargs["length"] == timedelta(seconds=1)
    assert kwargs["is_on"] is True
    assert kwargs["at"].tzinfo is not None
    assert "word" not in kwargs


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("number", "seven", "Enter a whole number."),
        ("price", "much", "Enter a number."),
        ("at", "tomorrow", "No moment that can be read."),
        ("day", "2026-02-30", "Enter a valid date."),
        ("clock", "25:00", "No time of day that can be read."),
        ("raw", "?", "No base64."),
        ("key", "x", "Enter a valid UUID."),
        ("user", "0", "There is no user with this key."),
        ("user", "x", "There is no user with this key."),
        ("many", "[1,", "JSONDecodeError: "),
        ("untold", '{"$jobs": ["model", ["auth.User", 0]]}', "DoesNotExist: "),
        ("word", "a\0b", "Null characters are not allowed."),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_field(name: str, text: str, told: str) -> None:
    job = enqueue(of_all, 7, **all_of_them())
    form = edited(job, of_all, **{name: text})

    assert [str(one)[: len(told)] for one in form.errors[name]] == [told]
    assert list(form.errors) == [name]


def test_positional_arguments_stay_in_their_places() -> None:
    job = enqueue(of_any, 1, 2, 3, 4, word="x")
    form = edited(job, of_any, first="10", rest="[5]", more='{"other": 1}')
    assert form.is_valid(), form.errors
    assert form.call == {"args": [10, 2, 5], "kwargs": {"other": 1}}

    form = edited(enqueue(of_any, 1), of_any, second="7")
    assert form.is_valid(), form.errors
    assert form.call == {"args": [1], "kwargs": {"second": 7}}
    form = edited(enqueue(of_any, 1, 2), of_any, rest='{"a": 1}')
    assert form.errors == {"rest": ["A JSON list, or a JSON object for **."]}
    form = edited(enqueue(of_any, 1), of_any, more='{"context": 1, "first": 2}')
    assert form.is_valid(), form.errors


@task
def of_odd_names(
    pairs: int, data: int = 1, /, *rest: int, fields: int = 2, **more: Any
) -> None: ...


@task
def of_unsaid(x: Any = 5, *, share: float | None = None, raw: bytes = b"a") -> None: ...


def test_what_comes_behind_needs_what_stands_before_it() -> None:
    form = edited(enqueue(of_odd_names, 1), of_odd_names, rest="[5, 6]")
    assert "needs all arguments" in str(form.errors)
    form = edited(enqueue(of_odd_names, 1, 2), of_odd_names, rest="[5, 6]")
    assert form.is_valid(), form.errors
    assert form.call["args"] == [1, 2, 5, 6]


def test_an_argument_by_place_only_and_one_by_its_name_are_two() -> None:
    form = edited(enqueue(of_odd_names, 1, pairs=9), of_odd_names, fields="3")
    assert form.is_valid(), form.errors
    assert form.call == {"args": [1], "kwargs": {"fields": 3, "pairs": 9}}
    superuser = client_with(is_superuser=True)
    jobs = [make_job(of_odd_names, [1], state="failed") for _ in range(2)]
    chosen = {"action": "again", "index": "0", "_selected_action": [str(job.pk) for job in jobs]}
    assert "change pairs" in superuser.post("/admin/jobs/job/", chosen).content.decode()


def test_numbers_that_a_field_does_not_know_stay_as_they_are() -> None:
    for value in (1e17, -2.5e-300):
        job = enqueue(of_unsaid, share=value)
        form = edited(job, of_unsaid)
        assert form.is_valid(), form.errors
        assert form.call == job.arguments
    form = edited(enqueue(of_unsaid, share=1e17), of_unsaid, share="1e18")
    assert form.is_valid(), form.errors
    assert read(form.call)[1] == {"share": 1e18}


def test_a_typed_null_is_null_and_no_bytes_are_bytes() -> None:
    form = edited(enqueue(of_unsaid, [1], raw=b""), of_unsaid, x="null")
    assert form.is_valid(), form.errors
    assert read(form.call) == ([None], {"raw": b""})
    form = edited(enqueue(of_unsaid, [1], raw=b"a"), of_unsaid, raw="")
    assert form.is_valid(), form.errors
    assert read(form.call)[1] == {"raw": b""}


def test_a_row_that_is_gone_is_told_and_stops_nobody() -> None:
    superuser = client_with(is_superuser=True)
    gone = User.objects.create_user("gone")
    jobs = [
        make_job(of_all, [1], {"user": gone}, state="failed"),
        make_job(of_all, [2], state="failed"),
    ]
    gone.delete()
    form = edited(jobs[0], of_all, number="3")
    assert form.errors == {"user": ["There is no user with this key."]}
    chosen = {"action": "again", "_selected_action": [str(job.pk) for job in jobs]}
    shown = superuser.post("/admin/jobs/job/", chosen | {"index": "0"})
    sent = {"confirmed": "1", "seen_at": shown.context["seen_at"], "arg-number": "7"}
    answer = superuser.post(
        "/admin/jobs/job/", chosen | sent | {"arg-set-number": "on"}, follow=True
    )
    assert "1 job is run again" in answer.content.decode()


def test_a_call_that_would_not_fit_is_refused_as_enqueue_refuses_it() -> None:
    with pytest.raises(InvalidCall, match="missing a required argument: 'number'"):
        changed(of_all, {"args": [], "kwargs": {}}, {"share": 1.0})
    with pytest.raises(InvalidCall, match="missing a required argument: 'number'"):
        changed(of_all, {"args": [1], "kwargs": {}}, {"number": NOTHING})


def test_an_argument_is_changed_on_the_page_and_the_new_job_names_the_old_one() -> None:
    superuser = client_with(is_superuser=True)
    job = make_job(of_all, [7], {"price": Decimal("19.90"), "word": "as it was"}, state="failed")
    url = f"/admin/jobs/job/{job.pk}/again/"
    shown = page(superuser, url)
    assert 'value="19.90"' in shown
    assert "Decimal · empty: Decimal(&#x27;1.10&#x27;)" in shown
    sent = typed(superuser.get(url).context["form"]) | {"edited": "1"}

    wrong = superuser.post(url, sent | {"arg-price": "free"})
    assert "Enter a number." in wrong.content.decode()
    assert Job.objects.count() == 1
    answer = superuser.post(url, sent | {"arg-price": "5"})
    made = Job.objects.exclude(pk=job.pk).get()
    assert answer["Location"] == f"/admin/jobs/job/{made.pk}/change/"
    assert read(made.arguments) == ([7], {"price": Decimal(5), "word": "as it was"})
    assert made.metadata == {
        "again_of": str(job.pk), "enqueued_by": "ada", "changed": ["price"],
    }  # fmt: skip
    assert "with another price" in page(superuser, answer["Location"])
    assert "price" in LogEntry.objects.get().change_message
    # Once more as it is now: nothing is changed.
    Job.objects.filter(pk=made.pk).update(
        state="cancelled", claimable=False, finished_at=made.enqueued_at,
        cancelled_at=made.enqueued_at,
    )  # fmt: skip
    superuser.post(f"/admin/jobs/job/{made.pk}/again/", typed_of(superuser, made))
    assert "changed" not in Job.objects.latest("id").metadata


def typed_of(client: Client, job: Job[Any]) -> dict[str, Any]:
    return typed(client.get(f"/admin/jobs/job/{job.pk}/again/").context["form"]) | {"edited": "1"}


def test_what_is_hidden_is_not_shown_and_stays_unless_it_is_typed_anew() -> None:
    superuser = client_with(is_superuser=True)
    job = make_job(of_a_secret, ["ada", "very secret"], state="failed")
    url = f"/admin/jobs/job/{job.pk}/again/"
    assert "very secret" not in page(superuser, url)
    # Nor what it is like.
    assert "textarea" not in page(superuser, url)
    assert "hidden; empty: as it was" in page(superuser, url)

    superuser.post(url, typed_of(superuser, job) | {"arg-name": "grace"})
    assert Job.objects.latest("id").args == ["grace", "very secret"]
    superuser.post(url, typed_of(superuser, job) | {"arg-password": "new"})
    assert Job.objects.latest("id").args == ["ada", "new"]


def test_who_may_not_see_arguments_runs_a_job_again_as_it_was() -> None:
    few = client_with("view_job", "run_job")
    job = make_job(of_a_secret, ["ada", "very secret"], state="failed")
    url = f"/admin/jobs/job/{job.pk}/again/"

    assert "arg-name" not in page(few, url)
    few.post(url, {"edited": "1", "arg-name": "eve", "arg-password": "x"})
    assert Job.objects.latest("id").args == ["ada", "very secret"]


@pytest.mark.parametrize("arguments", [[], {"args": 1}, {"args": [{"$jobs": 7}], "kwargs": {}}])
def test_arguments_that_sql_has_made_odd_break_no_page(arguments: Any) -> None:
    superuser = client_with(is_superuser=True)
    job = make_job(of_all, state="failed")
    Job.objects.filter(pk=job.pk).update(arguments=arguments)

    assert superuser.get(f"/admin/jobs/job/{job.pk}/again/").status_code == 200
