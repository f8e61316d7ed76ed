"""Django's own task API on jobs. Its own tests run against it, too: `make conformance`."""

import logging
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from jobs import Job, compat, enqueue
from jobs.backend import JobsBackend
from jobs.tasks import registry
from jobs.testing import make_job, run_jobs
from tests import django_tasks as tasks
from tests import tasks as own_tasks
from tests.workers import WorkerProcess

api: Any = compat.part()
signals: Any = compat.part("signals")
DoesNotExist = compat.exception("TaskResultDoesNotExist")
InvalidTask = compat.exception("InvalidTask")

pytestmark = pytest.mark.django_db
needs_options = pytest.mark.skipif(
    not tasks.may_say_more(), reason="its decorator takes no options before Django 6.1"
)


def backend(**params: Any) -> JobsBackend:
    return JobsBackend("default", {"QUEUES": [], **params})


@contextmanager
def heard(signal: Any) -> Iterator[list[tuple[Any, Any]]]:
    """(sender, status) of each signal."""
    found: list[tuple[Any, Any]] = []

    def hear(sender: Any, task_result: Any, **_: Any) -> None:
        found.append((sender, str(task_result.status)))

    signal.connect(hear)
    try:
        yield found
    finally:
        signal.disconnect(hear)


def test_a_task_of_djangos_own_api_is_a_job_like_any_other() -> None:
    result = tasks.add.using(priority=5, queue_name="sums").enqueue(1, b=2)
    job = Job.objects.get(pk=result.id)

    assert (job.task, job.args, job.kwargs) == ("tests.django_tasks.add", [1], {"b": 2})
    assert (job.priority, job.queue_name, job.state) == (5, "sums", "queued")
    assert (result.status, result.attempts, result.errors) == ("READY", 0, [])
    assert tasks.add.get_result(result.id).task.priority == 5


def test_a_rollback_and_there_was_never_a_task() -> None:
    with transaction.atomic():
        tasks.add.enqueue(1)
        transaction.set_rollback(True)

    assert not Job.objects.exists()


def test_its_result_is_read_from_anywhere() -> None:
    result = tasks.add.enqueue(1)
    run_jobs()

    result.refresh()
    assert (result.status, result.return_value, result.attempts) == ("SUCCESSFUL", 2, 1)
    assert result.started_at == result.last_attempted_at
    assert len(result.worker_ids[0]) < 64
    assert tasks.add.get_result(result.id) == result


def test_what_it_returns_is_json_as_django_has_it() -> None:
    pair, lambda_ = tasks.returns_a_tuple.enqueue(), tasks.returns_what_json_has_not.enqueue()
    run_jobs()
    pair.refresh()
    lambda_.refresh()

    assert pair.return_value == [1, [2]]
    assert lambda_.status == "FAILED"
    assert lambda_.errors[0].exception_class is TypeError


def test_the_context_is_djangos_and_ours_is_there_too() -> None:
    result = tasks.tells_its_context.enqueue()
    run_jobs()
    result.refresh()

    assert result.return_value == [result.id, 1, result.id]


def test_a_coroutine_runs_and_fails_as_any() -> None:
    good, bad = tasks.add_slowly.enqueue(1), tasks.async_boom.enqueue("told")
    run_jobs()
    good.refresh()
    bad.refresh()

    assert good.return_value == 2
    assert bad.errors[0].exception_class is ValueError
    assert bad.errors[0].traceback.endswith("ValueError: told\n")


@pytest.mark.parametrize("boom", [tasks.boom, tasks.async_boom])
def test_signals_are_sent_and_logged_as_django_does(
    boom: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        heard(signals.task_enqueued) as enqueued,
        heard(signals.task_started) as started,
        heard(signals.task_finished) as finished,
        caplog.at_level(logging.DEBUG, compat.part().__name__),
    ):
        result = boom.enqueue("told")
        run_jobs()

    assert (enqueued, started, finished) == (
        [(JobsBackend, "READY")],
        [(JobsBackend, "RUNNING")],
        [(JobsBackend, "FAILED")],
    )
    last = [record for record in caplog.records if "state=FAILED" in record.getMessage()][-1]
    assert result.id in last.getMessage()
    assert last.levelno == logging.ERROR
    assert last.exc_info is not None
    assert str(last.exc_info[1]) == "told"


def test_a_receiver_that_raises_hurts_no_task() -> None:
    def hurt(**_: Any) -> None:
        raise RuntimeError("a receiver's own mistake")

    signals.task_started.connect(hurt)
    try:
        result = tasks.add.enqueue(1)
        run_jobs()
    finally:
        signals.task_started.disconnect(hurt)

    result.refresh()
    assert result.status == "SUCCESSFUL"


@needs_options
def test_a_retried_task_tells_each_attempt_and_finishes_once() -> None:
    flaky: Any = tasks.flaky
    result = flaky.enqueue(3)
    with heard(signals.task_started) as started, heard(signals.task_finished) as finished:
        run_jobs()

    result.refresh()
    assert (result.return_value, result.attempts) == (3, 3)
    assert [one.exception_class for one in result.errors] == [ConnectionError] * 2
    assert len(started) == 3
    assert finished == [(JobsBackend, "SUCCESSFUL")]
    assert result.started_at < result.last_attempted_at


@needs_options
def test_zero_is_an_option_too(settings: Any) -> None:
    settings.JOBS = {**settings.JOBS, "TASKS": {"*": {"max_losses": 5}}}
    vars(tasks)["once_at_most"].enqueue()
    tasks.add.using(max_losses=0).enqueue(1)

    assert [job.max_losses for job in Job.objects.all()] == [0, 0]


@needs_options
@pytest.mark.django_db(transaction=True)
def test_an_atomic_task_is_told_of_once_it_is_known_how_it_ended() -> None:
    with heard(signals.task_finished) as finished:
        result = vars(tasks)["breaks_a_constraint"].enqueue()
        run_jobs()

    result.refresh()
    assert finished == [(JobsBackend, "FAILED")]
    assert result.status == "FAILED"
    assert result.errors[0].exception_class_path.endswith("IntegrityError")


@pytest.mark.parametrize("options", [{"atomic": True}, {"backoff": 1}, {"func": print}, {"x": 1}])
def test_what_a_row_does_not_keep_is_no_option_of_one_call(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        tasks.add.using(**options)


def test_a_receiver_that_exits_hurts_no_task() -> None:
    def leave(**_: Any) -> None:
        raise SystemExit

    signals.task_finished.connect(leave)
    try:
        result = tasks.add.enqueue(1)
        run_jobs()
    finally:
        signals.task_finished.disconnect(leave)

    result.refresh()
    assert result.return_value == 2


def test_what_has_vanished_still_has_a_result() -> None:
    result = tasks.add.enqueue(1)
    Job.objects.update(task="tests.django_tasks.vanished")

    found = backend().get_result(result.id)

    assert found.task.module_path == "tests.django_tasks.vanished"
    assert found.args == [1]


def test_arguments_that_django_would_refuse_are_told_as_json() -> None:
    """`jobs.enqueue` keeps more types than Django's API knows."""
    job = enqueue(tasks.add, (1,), (2,))
    run_jobs()

    found = backend().get_result(job.pk)
    assert (found.status, found.return_value) == ("SUCCESSFUL", [1, 2])
    assert found.args[0]["$jobs"][0] == "tuple"


@needs_options
def test_who_was_cancelled_between_two_attempts_tells_both() -> None:
    result = tasks.flaky.enqueue(3)
    Job.objects.update(run_at=timezone.now())
    run_jobs(at_most=1)
    Job.objects.get().cancel()
    result.refresh()

    kinds = [error.exception_class.__name__ for error in result.errors]
    assert kinds == ["ConnectionError", "JobCancelled"]


@pytest.mark.parametrize("id_", ["123", "", "0" * 32, 5, None])
def test_an_id_that_is_none_does_not_exist(id_: Any) -> None:
    with pytest.raises(DoesNotExist):
        backend().get_result(id_)


def test_a_result_is_restored_though_the_settings_know_its_queue_no_more() -> None:
    result = tasks.add.using(queue_name="gone").enqueue(1)

    found = backend(QUEUES=["default"]).get_result(result.id)

    assert (found.task.queue_name, found.task.func) == ("gone", tasks.add.func)


def test_jobs_of_plain_functions_and_own_tasks_have_results_too() -> None:
    plain, own = enqueue(own_tasks.plain, "a"), enqueue(own_tasks.add, 1)

    assert backend().get_result(plain.pk).task.func is own_tasks.plain
    assert backend().get_result(own.pk).args == [1]


def test_a_job_that_ended_without_an_exception_tells_why_it_failed() -> None:
    result = tasks.add.enqueue(1)
    Job.objects.get().cancel(because="enough")

    result.refresh()
    assert result.status == "FAILED"
    assert result.errors[0].exception_class.__name__ == "JobCancelled"


def test_run_after_may_be_a_timedelta() -> None:
    hour = timedelta(hours=1)
    by_time = tasks.add.using(run_after=timezone.now() + hour).enqueue(1)
    by_span = tasks.add.using(run_after=hour).enqueue(1)

    for result in (by_time, by_span):
        job = Job.objects.get(pk=result.id)
        assert timedelta(minutes=59) < job.run_at - job.enqueued_at <= hour
        assert tasks.add.get_result(result.id).task.run_after == job.run_at


def test_options_of_the_backend_are_those_of_its_tasks() -> None:
    options = {"MAX_ATTEMPTS": 4, "TIMEOUT": timedelta(minutes=5), "MAX_LOSSES": 0}
    with override_settings(
        TASKS={"default": {"BACKEND": "jobs.backend.JobsBackend", "OPTIONS": options}}
    ):
        tasks.add.enqueue(1)

    job = Job.objects.get()
    assert (job.max_attempts, job.timeout, job.max_losses) == (4, timedelta(minutes=5), 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"MAX_ATEMPTS": 3}, "Did you mean 'MAX_ATTEMPTS'?"),
        ({"max_attempts": 3}, "Did you mean 'MAX_ATTEMPTS'?"),
        ({"MAX_ATTEMPTS": 0}, "max_attempts is 0"),
        ({"TIMEOUT": 30}, "timeout is 30"),
    ],
)
def test_a_check_names_an_option_that_makes_no_sense(options: dict[str, Any], words: str) -> None:
    [error] = backend(OPTIONS=options).check()

    assert error.id == "jobs.E009"
    # It keeps no task from being imported, unless its value is wrong.
    assert set(backend(OPTIONS=options).job_options) <= {"max_attempts", "timeout"}
    assert words in f"{error.msg} {error.hint}"


def test_what_makes_no_sense_of_a_task_is_refused_where_it_is_said() -> None:
    with pytest.raises(InvalidTask, match="priority"):
        tasks.add.using(priority=101)
    with pytest.raises(TypeError, match="Unsupported type"):
        tasks.add.enqueue(timezone.now())
    with pytest.raises(ValueError, match="inf"):
        tasks.add.enqueue(float("inf"))
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_real_worker_runs_them(start_worker: Callable[..., WorkerProcess]) -> None:
    results = [tasks.add.enqueue(1), tasks.add_slowly.enqueue(1), tasks.boom.enqueue("told")]
    worker = start_worker("--burst", "--processes", "1")

    assert worker.wait() == 0, worker.output
    for result in results:
        result.refresh()
    assert [result.status for result in results] == ["SUCCESSFUL", "SUCCESSFUL", "FAILED"]
    assert [result.attempts for result in results] == [1, 1, 1]


def test_a_declared_task_may_be_a_job_though_its_package_is_no_app(
    monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    module = types.ModuleType("somebodys_package.tasks")
    monkeypatch.setitem(sys.modules, "somebodys_package", types.ModuleType("somebodys_package"))
    monkeypatch.setitem(sys.modules, "somebodys_package.tasks", module)
    monkeypatch.setattr(registry, "_declared", dict(registry._declared))
    code = (
        f"from {compat.part().__name__} import task\n"
        "@task\n"
        "def double(n): return 2 * n\n"
        "def undeclared(): ...\n"
    )
    exec(code, module.__dict__)

    result = module.__dict__["double"].enqueue(4)
    bad = make_job("somebodys_package.tasks.undeclared")
    run_jobs()
    result.refresh()
    bad.refresh()

    assert result.return_value == 8
    assert (bad.state, bad.errors[0].exception_class_path) == (
        "failed",
        "jobs.errors.TaskNotAllowed",
    )


def test_the_settings_route_tasks_whose_code_says_nothing() -> None:
    patterns = {"tests.django_tasks.*": {"queue_name": "search", "priority": 7, "max_attempts": 3}}
    with override_settings(JOBS={"TASKS": patterns}):
        result = tasks.add.enqueue(1, 2)
        said = tasks.add.using(queue_name="mail", priority=1).enqueue(1, 2)

    routed, own = Job.objects.get(pk=result.id), Job.objects.get(pk=said.id)
    assert (routed.queue_name, routed.priority, routed.max_attempts) == ("search", 7, 3)
    assert (result.task.queue_name, result.task.priority) == ("search", 7)
    assert (own.queue_name, own.priority, own.max_attempts) == ("mail", 1, 3)
