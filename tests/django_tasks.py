"""Tasks of Django's own API, wherever that is."""

import asyncio
from datetime import timedelta
from typing import Any

from jobs import compat, current_context

task: Any = compat.part().task


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task(takes_context=True)
def tells_its_context(context: Any) -> list[Any]:
    return [context.task_result.id, context.attempt, str(current_context().job_id)]


@task
async def add_slowly(a: int) -> int:
    await asyncio.sleep(0.01)
    return a + 1


@task
def returns_a_tuple() -> tuple[int, list[int]]:
    return 1, [2]


@task
def returns_what_json_has_not() -> object:
    return object()


@task
def boom(message: str) -> None:
    raise ValueError(message)


@task
async def async_boom(message: str) -> None:
    raise ValueError(message)


def flaky(context: Any, good: int) -> int:
    if context.attempt < good:
        raise ConnectionError(f"attempt {context.attempt}")
    return int(context.attempt)


def may_say_more() -> bool:
    """Whether the decorator takes a backend's own options: from Django 6.1 on, and the backport."""
    try:
        task(max_attempts=2)(add.func)
    except TypeError:
        return False
    return True


def once_at_most() -> None: ...


def breaks_a_constraint() -> None:
    """At the end of its transaction."""
    from django.contrib.admin.models import LogEntry

    LogEntry.objects.create(user_id=-1, action_flag=1, object_repr="x", change_message="x")


if may_say_more():
    once_at_most = task(max_losses=0)(once_at_most)
    breaks_a_constraint = task(atomic=True)(breaks_a_constraint)
    flaky = task(takes_context=True, max_attempts=3, backoff=timedelta(0))(flaky)


@task
def writes_its_name(path: str, name: str, seconds: float = 0) -> str:
    import time

    with open(path, "a") as file:  # noqa: PTH123  (appending)
        file.write(f"{name}\n")
    time.sleep(seconds)
    return name


@task
def exits() -> None:
    raise SystemExit(3)


@task
def is_interrupted() -> None:
    raise KeyboardInterrupt
