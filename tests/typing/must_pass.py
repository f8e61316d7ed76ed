"""Every line here must be accepted by mypy and pyright, both strict about calls."""

from datetime import timedelta
from typing import assert_type
from uuid import UUID

from jobs import (
    Context,
    Job,
    Task,
    aenqueue,
    aenqueue_many,
    current_context,
    enqueue,
    enqueue_many,
    task,
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
