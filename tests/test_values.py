"""Values and calls: what comes in by any door has bounds, and comes back equal."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as clock_time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.contrib.auth.models import Group
from django.core import serializers
from django.core.exceptions import SynchronousOnlyOperation
from django.db import IntegrityError, connection
from django.http import QueryDict
from django.utils import timezone as django_timezone
from django.utils.datastructures import MultiValueDict
from freezegun import freeze_time

from jobs import (
    Cancel,
    Context,
    Job,
    Retry,
    Snooze,
    aenqueue,
    codec,
    enqueue,
    enqueue_many,
    exponential,
    lifecycle,
    task,
)
from jobs.errors import InvalidCall, InvalidTask, JobCancelled, JobTimeout, NotStorable
from jobs.execution import Context as ExecutionContext
from jobs.execution import judge, problem_of
from jobs.lifecycle import Claimed
from jobs.models import Claim, Worker
from jobs.models.references import load
from jobs.outcomes import TIMEOUT, Cancelled, Failed, Retried, Snoozed
from jobs.tasks.definition import build
from jobs.testing import make_job, run_jobs
from tests import tasks

pytestmark = pytest.mark.django_db
LONG = timedelta(days=366_000)


# Moments.


@task(max_attempts=30, backoff=lambda error, context: 5.0**17)
def backs_off_for_ages() -> None:
    raise ValueError("no")


@task(max_attempts=3)
def asks_for(what: str) -> None:
    if what == "retry":
        raise Retry(LONG)
    if what == "snooze":
        raise Snooze(LONG)
    later = Later(7)
    later.delay = LONG if what == "late" else None
    raise later


class Later(Snooze):
    """Without `super().__init__`."""

    def __init__(self, number: int) -> None:
        self.number = number


class Again(Retry):
    """Without `super().__init__`."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_a_back_off_beyond_the_calendar_fails_the_job_and_poisons_no_reader() -> None:
    job = enqueue(backs_off_for_ages)
    run_jobs()

    job.refresh()
    assert job.state == "failed"
    assert "the delay that the back-off returned is" in job.last_problem.message
    assert "1,000 years at most" in job.last_problem.message
    assert "ValueError: no" in job.last_problem.traceback
    assert list(Job.objects.scheduled()) == []


@pytest.mark.parametrize("what", ["retry", "snooze", "late", "none"])
def test_a_delay_out_of_bounds_is_told_in_the_tasks_own_traceback(what: str) -> None:
    job = enqueue(asks_for, what)
    run_jobs()

    job.refresh()
    assert job.failures
    words = "has no delay" if what == "none" else "1,000 years at most"
    assert words in job.last_problem.message
    assert job.run_at.year < 2100


@pytest.mark.parametrize("answer", [float("nan"), 1e300, -5.0, LONG, "soon"])
def test_whatever_a_back_off_returns_no_moment_leaves_the_calendar(answer: Any) -> None:
    of = build(tasks.boom.func, {"max_attempts": 3, "backoff": lambda error, context: answer})
    outcome = judged(ValueError("no"), of)
    if answer == -5.0:
        assert (type(outcome), outcome.delay) == (Retried, timedelta(0))
    else:
        assert isinstance(outcome, Failed)


@pytest.mark.parametrize(
    "options",
    [
        {"run_after": datetime(9999, 12, 1, tzinfo=UTC)},
        {"run_after": datetime(8999, 12, 1, tzinfo=UTC), "expires_after": timedelta(days=400)},
        {"run_after": LONG},
        {"expires_after": LONG},
    ],
)
def test_a_moment_out_of_bounds_is_refused_before_any_sql(options: Any) -> None:
    with pytest.raises(InvalidTask, match=r"year 9000|1,000 years"):
        tasks.noop.using(**options).enqueue()
    assert not Job.objects.exists()


def test_the_verbs_refuse_moments_and_texts_out_of_bounds() -> None:
    job = make_job(tasks.noop, state="failed")
    for verb in (
        lambda: job.retry(delay=LONG),
        lambda: lifecycle.pause("default", until=datetime(9999, 12, 31, tzinfo=UTC)),
        lambda: lifecycle.pause_task("t", until=datetime(9999, 12, 31, tzinfo=UTC)),
        lambda: lifecycle.pause("default", by="a\0b"),
        lambda: lifecycle.pause_task("t", because="\ud800"),
        lambda: lifecycle.pause("a\0b"),
        lambda: job.cancel(by="a\0b"),
        lambda: job.cancel(because="\ud800"),
        lambda: job.run_again(by="a\0b"),
    ):
        with pytest.raises(ValueError, match=r"1,000 years|year 9000|NUL"):
            verb()
    with connection.cursor() as cursor:
        # The caller's transaction is as it was.
        cursor.execute("SELECT 1")


@pytest.mark.parametrize(
    ("name", "value"),
    [("queue_name", "a\0b"), ("queue_name", "\ud800"), ("name", "a\0b"), ("name", "x" * 256),
     ("on_success", "a\0b"), ("aliases", ["a\0b"]), ("sensitive", ["a\0b"])],
)  # fmt: skip
def test_a_name_that_postgresql_cannot_keep_is_refused_where_it_is_given(
    name: str, value: Any
) -> None:
    with pytest.raises(InvalidTask, match=name):
        task(**{name: value})(tasks.noop.func)


@pytest.mark.parametrize(
    ("table", "column"),
    [("jobs_attempt", "finished_at"), ("jobs_job", "finished_at"), ("jobs_job", "tick"),
     ("jobs_job", "last_attempted_at"), ("jobs_queue", "paused_at")],
)  # fmt: skip
def test_sql_can_put_no_moment_where_python_cannot_read_it(table: str, column: str) -> None:
    make_job(tasks.noop, state="failed")
    lifecycle.pause("default")
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = '294000-01-01'")


# Calls.


def injects(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func("injected", *args, **kwargs)

    return wrapper


@task
@injects
def gets_one_more(given: str, number: int) -> str:
    return f"{given} {number}"


@injects
def gets_one_more_plain(given: str, number: int) -> str:
    return f"{given} {number}"


def hides(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapper


@task(sensitive=["password"])
@hides
def logs_in(name: str, password: str) -> None: ...


def test_a_call_is_checked_against_the_function_that_is_really_called() -> None:
    jobs = [enqueue(gets_one_more, 1), gets_one_more.enqueue(number=2)]
    jobs.append(enqueue(gets_one_more_plain, 3))
    run_jobs()

    for job in jobs:
        job.refresh()
    assert [job.return_value for job in jobs] == ["injected 1", "injected 2", "injected 3"]
    with pytest.raises(InvalidCall):
        enqueue(tasks.add, 1, 2, 3, 4)


def test_what_a_wrapped_function_calls_sensitive_is_hidden_however_it_is_given() -> None:
    from jobs.admin.payload import HIDDEN, without_sensitive

    for call in (("ada", "secret"), {"name": "ada", "password": "secret"}):
        [pk] = enqueue_many(logs_in, [call])
        kept = Job.objects.get(pk=pk).arguments
        assert "secret" not in str(without_sensitive(logs_in.name, kept))
        assert HIDDEN in str(without_sensitive(logs_in.name, kept))


# Values.


class Shop(str):
    """A subclass of a plain type."""


class Fake(datetime):
    """As freezegun has it."""


class Precise(datetime):
    """As pandas has it: not equal to what is kept of it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Precise)

    __hash__ = datetime.__hash__


class Day(date): ...


class Money(Decimal): ...


class Rows(list): ...  # type: ignore[type-arg]


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (Fake(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN), datetime),
        (Day(2026, 1, 2), date),
        (Money("1.20"), Decimal),
        (Rows([1, Fake(2026, 1, 1)]), list),
        (OrderedDict(a=1), dict),
        (defaultdict(list, a=[1]), dict),
        (Counter("aab"), dict),
        (clock_time(12, 30, fold=1, tzinfo=BERLIN), clock_time),
        (clock_time(12, 30, tzinfo=timezone(timedelta(hours=2))), clock_time),
        (clock_time(12, 30), clock_time),
    ],
)
def test_a_subclass_that_loses_nothing_comes_back_as_the_equal_plain_value(
    given: Any, kind: type
) -> None:
    back = codec.decode(codec.encode(given, "it"), load)

    assert back == given
    assert type(back) is kind
    if kind in (datetime, clock_time):
        assert (back.tzinfo, back.fold) == (given.tzinfo, given.fold)


@pytest.mark.parametrize("given", [
    Precise(2026, 1, 1), QueryDict("a=1&a=2"), MultiValueDict({"a": ["1", "2"]}),
])  # fmt: skip
def test_a_subclass_that_would_lose_something_is_refused(given: Any) -> None:
    with pytest.raises(NotStorable, match="would come back as another"):
        codec.encode(given, "it")


def test_a_time_with_a_nameless_zone_is_refused_with_the_cure() -> None:
    from io import BytesIO
    from pathlib import Path
    from zoneinfo import TZPATH

    source = next(Path(one) / "Europe/Berlin" for one in TZPATH if Path(one).exists())
    nameless = ZoneInfo.from_file(BytesIO(source.read_bytes()))
    with pytest.raises(NotStorable, match="give it a ZoneInfo"):
        codec.encode(clock_time(12, tzinfo=nameless), "it")


def test_frozen_time_is_kept_and_jobs_run_within_it() -> None:
    with freeze_time("2031-05-06 07:08:09"):
        job = enqueue(tasks.echo, django_timezone.now())
        later = tasks.echo.using(run_after=timedelta(hours=1)).enqueue(date.today())
        assert [one.pk for one in run_jobs()] == [job.pk]
    job.refresh()
    [[moment], _] = job.return_value
    assert moment == datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert type(moment) is datetime
    later.refresh()
    assert later.args == [date(2031, 5, 6)]


def test_time_machine_and_jobs_get_along() -> None:
    with time_machine.travel("2031-05-06 07:08:09+00:00", tick=False):
        job = enqueue(tasks.echo, datetime.now(UTC))
        assert [one.pk for one in run_jobs()] == [job.pk]
    job.refresh()
    assert job.return_value == [[datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)], {}]


@pytest.mark.django_db(databases=["default", "second"])
def test_an_instance_of_another_database_comes_back_from_there(django_db_blocker: Any) -> None:
    here = Group.objects.create(name="here")
    there = Group.objects.using("second").create(pk=here.pk, name="there")

    for group in (here, there):
        back = codec.decode(codec.encode(group, "it"), load)
        assert (back.name, back._state.db) == (group.name, group._state.db)
    # What an older version has kept has no database.
    kept = {"$jobs": ["model", ["auth.group", here.pk]]}
    assert codec.decode(kept, load).name == "here"


def test_an_instance_that_was_read_from_a_replica_is_kept_by_where_it_is_written(
    settings: Any,
) -> None:
    settings.DATABASE_ROUTERS = ["tests.test_values.Primary"]
    group = Group.objects.create(name="g")
    group._state.db = "replica"

    assert codec.encode(group, "it") == {"$jobs": ["model", ["auth.group", group.pk]]}


class Primary:
    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_args_and_kwargs_are_the_values_that_the_function_gets() -> None:
    group = Group.objects.create(name="g")
    job = enqueue(tasks.echo, (1, {"at": date(2026, 1, 2)}))
    other = enqueue_many(tasks.echo, [{"value": group}])[0]

    assert job.args == [(1, {"at": date(2026, 1, 2)})]
    assert Job.objects.get(pk=job.pk).args == job.args
    assert Job.objects.get(pk=other).kwargs == {"value": group}
    assert job.arguments["args"][0]["$jobs"][0] == "tuple"


def test_rows_with_lists_survive_a_fixture() -> None:
    make_job(tasks.noop, state="running")
    rows = [*Claim.objects.all(), *Worker.objects.all()]
    worker = Worker(
        id=rows[0].worker_id, name="w", host="h", pid=1, protocol=1, version="1",
        queues=None, excluded_queues=["a,b", '"'], processes=1, threads=1, coroutines=1,
        runners=[rows[0].runner], idle=[], started_at=django_timezone.now(),
        heartbeat_at=django_timezone.now(),
    )  # fmt: skip
    worker.save()
    worker.refresh_from_db()
    for kind in ("json", "xml"):
        text = serializers.serialize(kind, [rows[0], worker])
        claim, again = (one.object for one in serializers.deserialize(kind, text))
        assert claim.ids == rows[0].ids
        assert (again.excluded_queues, again.queues, again.runners, again.idle) == (
            ["a,b", '"'], None, [rows[0].runner], [],
        )  # fmt: skip


def test_json_that_python_cannot_read_breaks_no_reader() -> None:
    job = make_job(tasks.noop)
    deep = "[" * 3000 + "]" * 3000
    for odd in ('{"args": [%s], "kwargs": {}}' % ("9" * 5000), f'{{"args": [{deep}]}}'):
        with connection.cursor() as cursor:
            cursor.execute("UPDATE jobs_job SET arguments = %s::jsonb", [odd])
        found = Job.objects.get(pk=job.pk)
        assert found.state == "queued"
    run_jobs()
    job.refresh()
    assert job.state == "failed"


# Odds and ends of D4 and D7.


def test_metadata_is_always_a_dict() -> None:
    job = enqueue(tasks.noop)

    assert (job.metadata, Job.objects.get().metadata) == ({}, {})
    assert make_job(tasks.noop, metadata={"a": 1}).metadata == {"a": 1}


def test_a_job_is_only_its_own_tasks_result() -> None:
    job = enqueue(tasks.noop)

    assert tasks.noop.get_result(job.pk) == job
    with pytest.raises(Job.DoesNotExist, match=r"is a job of tests\.tasks\.noop, not of"):
        tasks.add.get_result(job.pk)


def test_a_cancelled_job_has_no_value_and_says_so() -> None:
    with pytest.raises(ValueError, match="cancelled"):
        _ = make_job(tasks.noop, state="cancelled").return_value


def test_a_job_that_is_run_again_expires_as_the_first_did() -> None:
    job = tasks.noop.using(expires_after=timedelta(minutes=10)).enqueue()
    again = job.run_again()

    assert again.expires_at - again.enqueued_at == timedelta(minutes=10)
    assert enqueue(tasks.noop).run_again().expires_at is None


def test_enqueue_in_async_code_names_aenqueue() -> None:
    async def calls() -> None:
        with pytest.raises(SynchronousOnlyOperation, match="await aenqueue"):
            enqueue(tasks.noop)
        with pytest.raises(SynchronousOnlyOperation, match="await aenqueue"):
            enqueue_many(tasks.noop, [()])

    asyncio.run(calls())
    assert asyncio.iscoroutinefunction(aenqueue)


def test_enqueue_before_migrate_names_migrate() -> None:
    from django.db import ProgrammingError, transaction

    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jobs_job RENAME TO jobs_gone")
    with pytest.raises(ProgrammingError, match=r"run manage\.py migrate"), transaction.atomic():
        enqueue(tasks.noop)


@pytest.mark.parametrize(
    ("option", "words"),
    [("retry_jitter", "exponential"), ("on_retry", "job_retried"), ("rate_limit", "no rate limits"),
     ("base", "no task classes"), ("bind", "takes_context"), ("retry_backoff_max", "maximum")],
)  # fmt: skip
def test_what_celery_calls_otherwise_is_refused_with_what_there_is(option: str, words: str) -> None:
    with pytest.raises(InvalidTask, match=words):
        task(**{option: True})(tasks.noop.func)


@pytest.mark.parametrize("name", ["s", "si", "delay", "apply_async", "retry", "request"])
def test_what_celerys_tasks_have_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(AttributeError, match="; "):
        getattr(tasks.noop, name)


# How an attempt is judged.


def judged(error: BaseException, of: Any = None, interruption: BaseException | None = None) -> Any:
    job = Claimed(["x", "t", "{}", 1, 0, None, "default", None, None, None], "c", 0.0)
    context = ExecutionContext(job)
    context.interruption = interruption
    return judge(error, of or build(tasks.noop.func, {"max_attempts": 3}), job, context)


def cleaning_up(during: BaseException) -> BaseException:
    """A ValueError that was raised while `during` was handled."""
    try:
        try:
            raise during
        finally:
            raise ValueError("while it cleaned up")
    except ValueError as error:
        return error


TOO_LONG = JobTimeout("too long")
RETRIES = build(tasks.noop.func, {"max_attempts": 3, "retry_on": [ConnectionError]})


@pytest.mark.parametrize(
    "error",
    [
        TOO_LONG,
        cleaning_up(TOO_LONG),
        ExceptionGroup("g", [cleaning_up(asyncio.CancelledError())]),
        BaseExceptionGroup("g", [ValueError(), BaseExceptionGroup("h", [JobTimeout()])]),
    ],
)
def test_an_attempt_that_its_time_limit_ended_is_told_so_whatever_came_out(
    error: BaseException,
) -> None:
    outcome = judged(error, RETRIES, TOO_LONG)
    assert isinstance(outcome, Failed)
    assert outcome.reason == TIMEOUT


def test_a_cancelled_job_is_cancelled_though_its_clean_up_failed() -> None:
    stop = JobCancelled("by hand")
    for error in (cleaning_up(stop), ExceptionGroup("g", [cleaning_up(asyncio.CancelledError())])):
        assert isinstance(judged(error, None, stop), Cancelled)


def test_an_exception_of_its_own_is_not_taken_for_an_interruption() -> None:
    outcome = judged(ValueError("own"), RETRIES, None)
    assert (type(outcome), outcome.reason) == (Failed, "")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ExceptionGroup("g", [ConnectionError(), ConnectionResetError()]), Retried),
        (ExceptionGroup("g", [ConnectionError(), ValueError()]), Failed),
        (ExceptionGroup("g", [ExceptionGroup("h", [ConnectionError()])]), Retried),
        (ExceptionGroup("g", [Retry(timedelta(seconds=7))]), Retried),
        (ExceptionGroup("g", [Retry(), ConnectionError()]), Retried),
        (ExceptionGroup("g", [Snooze(timedelta(seconds=7))]), Snoozed),
        (ExceptionGroup("g", [Snooze(timedelta(seconds=7)), Cancel("stop")]), Cancelled),
        (ExceptionGroup("g", [Cancel("stop"), ValueError()]), Failed),
        (ConnectionError(), Retried),
        (ValueError(), Failed),
        (Again(1), Retried),
    ],
)
def test_a_group_is_judged_by_what_is_in_it(error: Exception, expected: type) -> None:
    assert type(judged(error, RETRIES)) is expected


def test_dont_retry_on_is_looked_for_in_groups_too() -> None:
    of = build(tasks.noop.func, {"max_attempts": 3, "dont_retry_on": [KeyError]})
    assert type(judged(ExceptionGroup("g", [ValueError(), KeyError()]), of)) is Failed
    assert type(judged(ExceptionGroup("g", [ValueError()]), of)) is Retried


def test_a_long_chain_and_a_wide_group_are_written_down_quickly_and_stay_as_they_are() -> None:
    error: BaseException = ValueError("the first")
    first = error
    for i in range(20_000):
        following = ValueError(str(i))
        following.__context__, error = error, following
    wide = ExceptionGroup("wide", [ValueError(str(i)) for i in range(20_000)])

    for one in (error, wide, ExceptionGroup("both", [error, wide])):  # type: ignore[list-item]
        began = time.process_time()
        problem = problem_of(one)
        # Seconds of processor time; before, a dozen.
        assert time.process_time() - began < 2
        assert "left out" in problem.traceback or "more exceptions" in problem.traceback

    length = 0
    while error is not first:
        error, length = error.__context__, length + 1  # type: ignore[assignment]
    assert length == 20_000
    # Each of a nested group costs as much: that is cut, too, for the innermost.
    nested = ExceptionGroup("n", [ExceptionGroup("wide", [ValueError() for _ in range(5000)])])
    began = time.process_time()
    problem_of(nested)
    assert time.process_time() - began < 2


# Back-off.


@task(max_attempts=5, backoff=exponential(timedelta(minutes=1), 2, jitter=False))
def backs_off_regularly() -> None:
    raise ValueError


def test_a_ready_made_back_off_grows_up_to_its_maximum() -> None:
    plain = exponential(timedelta(seconds=2), 3.0, timedelta(minutes=1), jitter=False)
    seconds = [plain.delay(n).total_seconds() for n in (1, 2, 3, 4, 5, 100_000)]
    assert seconds == [2, 6, 18, 54, 60, 60]
    half = exponential(timedelta(seconds=10), jitter=0.5)
    drawn = [half.delay(1).total_seconds() for _ in range(300)]
    assert 5 <= min(drawn) < 6 < 9 < max(drawn) <= 10


@pytest.mark.parametrize(
    "options",
    [{"base": 5}, {"base": timedelta(-1)}, {"factor": 0.5}, {"factor": float("nan")},
     {"maximum": LONG}, {"jitter": 2}, {"jitter": "full"}],
)  # fmt: skip
def test_a_back_off_that_makes_no_sense_is_refused_where_it_is_made(options: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        exponential(**options)


def test_a_task_backs_off_as_it_was_told(settings: Any) -> None:
    job = make_job(backs_off_regularly, state="queued", error=ValueError(), failures=2)
    run_jobs(job)

    job.refresh()
    assert timedelta(minutes=3.9) < job.run_at - django_timezone.now() < timedelta(minutes=4.1)


def test_a_context_knows_of_no_stop_outside_of_a_worker() -> None:
    job = Claimed(["x", "t", "{}", 1, 0, None, "default", None, None, None], "c", 0.0)
    assert not Context(job).is_stopping()
    assert Context(job, is_stopping=lambda: True).is_stopping()
