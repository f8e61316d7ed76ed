"""Every line here must be accepted by mypy and pyright, both strict about calls."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, assert_type
from uuid import UUID

from jobs import (
    Cancel,
    Context,
    Job,
    Retry,
    Snooze,
    Task,
    aenqueue,
    aenqueue_many,
    current_context,
    enqueue,
    enqueue_many,
    enqueue_on_commit,
    task,
)
from jobs.backend import JobsBackend
from jobs.cron import at, cron, every, solar
from jobs.models import JobQuerySet
from jobs.signals import job_finished
from jobs.testing import (
    assert_enqueued,
    assert_not_enqueued,
    immediate,
    live_worker,
    make_job,
    run_beat,
    run_jobs,
    travel,
)


def plain(word: str, times: int = 1) -> list[str]:
    return [word] * times


async def coroutine(word: str) -> int:
    return len(word)


@task
def bare(a: int, b: int = 2) -> int:
    return a + b


@task(queue_name="mail", max_attempts=3, timeout=timedelta(seconds=5))
def optioned(name: str) -> None:
    current_context().set_progress(1, 2, name)


@task(takes_context=True)
def with_context(context: Context, a: int) -> str:
    return f"{context.attempt} {a}"


@task(takes_context=True)
async def async_with_context(context: Context, a: int) -> str:
    return f"{context.attempt} {a}"


@task
async def async_task(a: int) -> float:
    return a / 2


assert_type(enqueue(plain, "a"), Job[list[str]])
assert_type(enqueue(plain, "a", times=2), Job[list[str]])
assert_type(enqueue(coroutine, "a"), Job[int])
assert_type(enqueue(bare, 1, b=3), Job[int])
assert_type(enqueue(with_context, 1), Job[str])
assert_type(enqueue(async_with_context, a=1), Job[str])
assert_type(enqueue(async_task, 1), Job[float])
assert_type(bare.enqueue(1), Job[int])
assert_type(bare(1), int)
assert_type(bare.using(priority=5, run_after=timedelta(hours=1)).enqueue(1, 2), Job[int])
assert_type(enqueue(bare, 1).wait(timeout=5), int)
assert_type(enqueue(bare, 1).return_value, int)
assert_type(enqueue_many(bare, [(1,), {"a": 2}]), list[UUID])
assert_type(task(plain).using(queue_name="x").enqueue("a"), Job[list[str]])


async def view() -> None:
    assert_type(await aenqueue(bare, 1), Job[int])
    assert_type(await aenqueue(async_task, 1), Job[float])
    assert_type(await async_task.aenqueue(1), Job[float])
    assert_type(await async_task(1), float)
    assert_type(await aenqueue_many(bare, [(1,)]), list[UUID])
    assert_type(await (await aenqueue(bare, 1)).await_result(), int)


def takes_any(some: Task[[int], str]) -> Job[str]:
    return some.enqueue(1)


takes_any(with_context)


# Callbacks, schedules, all options.


@task
def follows(job_id: UUID) -> None: ...


def a_function_follows(job_id: UUID) -> int:
    return 1


def in_a_minute(exception: BaseException, context: Context) -> timedelta | float | None:
    if isinstance(exception, Retry):
        raise Snooze(timedelta(minutes=1))
    raise Cancel("no")


@task(
    name="full",
    aliases=["old"],
    queue_name="q",
    priority=5,
    max_attempts=3,
    backoff=in_a_minute,
    retry_on=[OSError],
    dont_retry_on=(KeyError,),
    max_losses=0,
    timeout=timedelta(1),
    atomic=True,
    keep_result=False,
    retention=timedelta(days=1),
    expires_after=timedelta(1),
    sensitive=["a"],
    metadata={"tenant": 1},
    schedule=cron("0 3 * * *", timezone="Europe/Berlin", args=(Decimal(1),), overlap="skip"),
    on_success=follows,
    on_failure=a_function_follows,
    on_finish="tests.typing.must_pass.follows",
)
def full(a: Decimal) -> Decimal:
    return a


@task(schedule=every(minutes=5), on_finish=follows.using(priority=3))
def regular() -> None: ...


@task(schedule=at(datetime(2030, 1, 1, tzinfo=UTC)))
def single() -> None: ...


@task(schedule=solar("sunset", latitude=52.5, longitude=13.4))
def evening() -> None: ...


@task(schedule="@daily")
def daily() -> None: ...


enqueue_on_commit(bare, 1, b=2)
enqueue_on_commit(coroutine, "a")
enqueue_on_commit(plain, "a")

# The job, its states in words, and its verbs.

job = enqueue(full, Decimal(1))
assert_type(job, Job[Decimal])
assert_type(job.cancel(by="ada", because="why not"), bool)
job.retry(delay=timedelta(1))
assert_type(job.is_finished, bool)
assert_type(full.get_result(job.pk).return_value, Decimal)

found: JobQuerySet = Job.objects.failed()
assert_type(Job.objects.queued().ready().overdue(by=timedelta(1)).exists(), bool)
assert_type(Job.objects.using("second").get(pk=job.pk), Job[Any])
mine: JobQuerySet = Job.objects.filter(task="a.b").failed()

# Tests.

with immediate(raising=True), travel(timedelta(days=1)), travel(datetime(2030, 1, 1, tzinfo=UTC)):
    assert_type(run_jobs(at_most=5, raising=True), list[Job[Any]])
    assert_type(run_beat(), list[Job[Any]])
with live_worker(threads=3, queues=["mail"]):
    assert_type(assert_enqueued(bare, args=(1,), times=1, run_after=timedelta(1)), list[Job[Any]])
    assert_not_enqueued(bare, kwargs={"a": 1}, queue_name="mail")
assert_type(make_job(bare, [1], state="failed", error=OSError()), Job[Any])

# Signals, and the backend.


def hear(sender: Any, context: Context, state: str, **more: Any) -> None: ...


job_finished.connect(hear, sender=bare)
backend = JobsBackend("default", {"QUEUES": [], "OPTIONS": {}})
assert_type(backend.supports_defer, bool)
