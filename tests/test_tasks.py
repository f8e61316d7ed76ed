"""The face: what can be enqueued, how, and what is refused before any SQL."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from jobs import Job, aenqueue, aenqueue_many, enqueue, enqueue_many, task
from jobs.errors import InvalidCall, InvalidTask, NotStorable, TaskNotAllowed, TaskNotFound
from jobs.tasks import resolve
from tests import tasks

pytestmark = pytest.mark.django_db(transaction=True)


class Holder:
    @staticmethod
    def method() -> None: ...

    def bound(self) -> None: ...


def test_a_job_rolls_back_with_its_transaction_and_commits_with_it() -> None:
    with transaction.atomic():
        lost = enqueue(tasks.noop)
        transaction.set_rollback(True)
    with transaction.atomic():
        kept = enqueue(tasks.noop)

    assert not Job.objects.filter(pk=lost.pk).exists()
    assert Job.objects.get().pk == kept.pk


def test_enqueue_is_one_statement_and_the_job_knows_its_row() -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        job = enqueue(tasks.add, 1, b=2)

    row = Job.objects.get(pk=job.pk)
    assert len(queries) == 1
    for field in Job._meta.concrete_fields:
        assert getattr(job, field.attname) == getattr(row, field.attname), field.attname


def test_options_are_never_among_the_arguments() -> None:
    job = (
        task(tasks.plain)
        .using(
            queue_name="letters",
            priority=5,
            run_after=timedelta(hours=1),
            max_attempts=3,
            timeout=timedelta(minutes=2),
            expires_after=timedelta(hours=2),
            metadata={"by": "ada"},
        )
        .enqueue("word")
    )

    assert (job.queue_name, job.priority, job.max_attempts) == ("letters", 5, 3)
    assert job.timeout == timedelta(minutes=2)
    assert job.run_at - job.enqueued_at == timedelta(hours=1)
    assert job.expires_at is not None
    assert job.expires_at - job.run_at == timedelta(hours=2)
    assert Job.objects.get().metadata == {"by": "ada"}
    assert job.args == ["word"]


def test_a_past_run_after_is_now() -> None:
    job = tasks.noop.using(run_after=datetime(2020, 1, 1, tzinfo=UTC)).enqueue()

    assert job.run_at >= job.enqueued_at


def test_enqueue_many_takes_tuples_and_dicts_and_returns_ids_in_order() -> None:
    made = enqueue_many(tasks.add, [(1, 2), {"a": 3}, (4,)])

    kept = {job.pk: job.arguments for job in Job.objects.all()}
    assert [kept[pk] for pk in made] == [
        {"args": [1, 2], "kwargs": {}},
        {"args": [], "kwargs": {"a": 3}},
        {"args": [4], "kwargs": {}},
    ]


def test_enqueue_many_of_nothing_is_nothing() -> None:
    assert enqueue_many(tasks.add, []) == []


@pytest.mark.parametrize(
    ("calls", "error", "words"),
    [
        ([(1,), 5], TypeError, r"calls\[1\] of tests.tasks.add is of type int"),
        ([(1,), "ab"], TypeError, r"calls\[1\] of tests.tasks.add is of type str"),
        ([(1,), {"a": 1, "c": 1}], InvalidCall, r"calls\[1\] .* unexpected keyword argument 'c'"),
        ([(1,), (float("nan"),)], NotStorable, r"argument 'a' of tests.tasks.add, calls\[1\]"),
    ],
)
def test_one_bad_call_of_many_is_named_and_nothing_is_written(
    calls: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        enqueue_many(tasks.add, calls)

    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("func", "words"),
    [
        (lambda: 1, "a lambda cannot be a job"),
        (Holder().bound, "bound method"),
        (Holder, "it is a class"),
        (print, "not written in Python"),
        (__import__("functools").partial(tasks.plain, "x"), "a partial has no name"),
    ],
)
def test_what_has_no_name_to_be_found_by_is_refused(func: Any, words: str) -> None:
    with pytest.raises(InvalidTask, match=words):
        enqueue(func)


def typed_into_a_shell() -> None: ...


def test_a_function_of_a_shell_or_a_script_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (None, "__main__", "django.core.management.commands.shell"):
        monkeypatch.setattr(typed_into_a_shell, "__module__", module)
        with pytest.raises(InvalidTask, match="typed into a shell"):
            enqueue(typed_into_a_shell)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: tasks.add.delay(1), r"no attribute 'delay'; use enqueue\(\)"),
        (lambda: tasks.add.using(countdown=5), "did you mean run_after"),
        (lambda: tasks.add.using(queue="mail"), "did you mean queue_name"),
        (lambda: task(bind=True)(tasks.plain), "did you mean takes_context"),
        (lambda: task(max_retries=3)(tasks.plain), "did you mean max_attempts"),
        (lambda: enqueue(tasks.add, 1, queue_name="mail"), "options go before the call"),
        (lambda: enqueue("tests.tasks.add", 1), "pass the function itself"),
        (lambda: enqueue(tasks.add(1)), "what the function returned"),
        (lambda: task(Holder.bound), "it is a method"),
        (lambda: tasks.add.using(queue_name="a,b"), "no commas"),
        (lambda: enqueue(tasks.plain, Job), "not the class"),
    ],
)
def test_the_first_mistakes_of_newcomers_are_answered(mistake: Any, words: str) -> None:
    with pytest.raises(Exception, match=words):
        mistake()


def test_an_enqueue_at_import_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.apps.apps.ready", False)

    with pytest.raises(Exception, match="Call enqueue in a function"):
        enqueue(tasks.noop)


def test_a_closure_is_refused() -> None:
    def inner() -> None: ...

    with pytest.raises(InvalidTask, match="a function inside a function"):
        enqueue(inner)


def test_a_function_outside_the_sites_apps_is_refused_as_a_worker_would() -> None:
    with pytest.raises(TaskNotAllowed, match="ALLOWED_FUNCTIONS"):
        enqueue(call_command, "flush")


def test_a_function_outside_can_be_allowed_by_name() -> None:
    path = "django.core.management.call_command"
    with override_settings(JOBS={"ALLOWED_FUNCTIONS": [path]}):
        assert enqueue(call_command, "check").task == path
        assert resolve(path).func is call_command


@pytest.mark.parametrize(
    "path", ["os.system", "tests.tasks.os.system", "tests.tasks.time.sleep", "antigravity.fly"]
)
def test_a_row_cannot_name_a_function_that_is_not_the_sites(path: str) -> None:
    import sys

    with pytest.raises((TaskNotAllowed, TaskNotFound)):
        resolve(path)

    assert "antigravity" not in sys.modules


def test_a_name_that_nobody_has_is_not_found() -> None:
    with pytest.raises(TaskNotFound, match=r"tests\.tasks has no vanished"):
        resolve("tests.tasks.vanished")


def test_a_plain_function_and_a_static_method_are_found_by_their_names() -> None:
    assert resolve("tests.tasks.plain").func is tasks.plain
    assert resolve("tests.test_tasks.Holder.method").func is Holder.method


def test_old_names_lead_to_the_task_by_alias_and_by_setting() -> None:
    with override_settings(JOBS={"TASK_ALIASES": {"shop.old": "tests.tasks.noop"}}):
        assert resolve("shop.old") is tasks.noop


def test_settings_set_options_by_pattern_but_not_over_using() -> None:
    options = {"tests.tasks.n*": {"queue_name": "quiet", "max_attempts": 9}}
    with override_settings(JOBS={"TASKS": options}):
        assert enqueue(tasks.noop).queue_name == "quiet"
        assert tasks.noop.using(queue_name="loud").enqueue().queue_name == "loud"
        assert enqueue(tasks.add, 1).queue_name == "default"


def test_defaults_are_weaker_than_the_code_and_the_settings_of_tasks_stronger() -> None:
    below = {"*": {"max_attempts": 4, "queue_name": "rest", "priority": 1}}
    with override_settings(JOBS={"DEFAULTS": below}):
        assert enqueue(tasks.noop).max_attempts == 4
        flaky = enqueue(tasks.flaky, 1)
        assert flaky.max_attempts == 3
        assert flaky.queue_name == "rest"
        assert tasks.noop.using(queue_name="loud").enqueue().queue_name == "loud"
    above = {"tests.*": {"max_attempts": 7, "priority": 2}}
    with override_settings(JOBS={"DEFAULTS": below, "TASKS": above}):
        flaky = enqueue(tasks.flaky, 1)
        assert (flaky.max_attempts, flaky.priority, flaky.queue_name) == (7, 2, "rest")


def test_only_listed_queues_may_be_used_when_there_is_a_list() -> None:
    with (
        override_settings(JOBS={"QUEUES": ["default", "mail"]}),
        pytest.raises(InvalidTask, match="no queue 'male'; it has default, mail"),
    ):
        tasks.noop.using(queue_name="male").enqueue()


def test_arguments_are_checked_against_the_signature_with_its_text() -> None:
    with pytest.raises(
        InvalidCall, match=r"tests.tasks.add does not fit add\(a.*b.* missing a required"
    ):
        enqueue(tasks.add)  # type: ignore[call-arg]


def test_the_context_is_not_the_callers_to_give() -> None:
    assert enqueue(tasks.flaky, 2).args == [2]


def test_a_job_as_an_argument_is_refused_with_the_hint() -> None:
    job = enqueue(tasks.noop)

    with pytest.raises(NotStorable, match=r"argument 'word' of tests.tasks.plain is a Job.*job.pk"):
        enqueue(tasks.plain, job)  # type: ignore[arg-type]


def test_a_bad_argument_leaves_the_transaction_usable() -> None:
    with transaction.atomic():
        with pytest.raises(NotStorable):
            enqueue(tasks.plain, "\x00")
        enqueue(tasks.plain, "fine")

    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"priority": 101}, "from -100 to 100"),
        ({"priority": True}, "from -100 to 100"),
        ({"timeout": 5}, "timedelta greater than zero"),
        ({"max_attempts": 0}, "at least 1"),
        ({"retry_on": [5]}, "tuple of exception classes"),
        ({"sensitive": ["pasword"]}, "no argument of it"),
        ({"retries": 3}, "has no option retries"),
        ({"qeue_name": "a"}, "did you mean queue_name"),
        ({"schedule": "61 * * * *"}, "cannot be read"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_at_once(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(Exception, match=words):
        task(**options)(tasks.plain)


def test_atomic_is_for_plain_functions_only() -> None:
    with pytest.raises(InvalidTask, match="plain functions only"):
        task(atomic=True)(tasks.async_nap.func)


def test_a_naive_run_after_is_refused() -> None:
    with pytest.raises(InvalidTask, match="time zone"):
        tasks.noop.using(run_after=datetime(2030, 1, 1))


def test_two_tasks_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidTask, match=r"two tasks are called 'tests\.tasks\.noop'"):
        task(name="tests.tasks.noop")(Holder.method)


def test_unset_attempts_are_four_where_a_task_asks_for_retries() -> None:
    assert enqueue(tasks.noop).max_attempts is None
    assert enqueue(tasks.flaky, 1).max_attempts == 3
    assert tasks.noop.limit_of_attempts(None) == 1
    assert tasks.noop.limit_of_attempts(None, asked_to_retry=True) == 4


def test_a_task_is_called_as_its_function() -> None:
    assert tasks.add(1, b=2) == 3
    assert tasks.async_nap.call(0) == 0
    assert async_to_sync(tasks.add.acall)(1) == 2


def test_async_code_enqueues_too() -> None:
    async def view() -> tuple[Job[int], list[uuid.UUID]]:
        return await aenqueue(tasks.add, 1), await aenqueue_many(tasks.add, [(1,), (2,)])

    job, made = async_to_sync(view)()

    assert {job.pk, *made} == set(Job.objects.values_list("pk", flat=True))


def test_a_task_of_djangos_is_taken_with_its_options() -> None:
    django_tasks = pytest.importorskip("django.tasks", reason="django.tasks came with Django 6.0")
    theirs = django_tasks.task(priority=7)(tasks.plain)

    job = enqueue(theirs, "word")

    assert (job.task, job.priority) == ("tests.tasks.plain", 7)


@pytest.mark.parametrize("name", ["a\x00b", "\ud800"])
def test_a_keyword_that_postgresql_cannot_keep_is_refused_before_any_sql(name: str) -> None:
    with pytest.raises(NotStorable, match="the name of argument"):
        enqueue(tasks.echo, **{name: 1})
