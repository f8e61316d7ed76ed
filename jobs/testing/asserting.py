"""What was enqueued: rows of the test's own transaction, compared as calls."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ObjectDoesNotExist

from jobs import codec, conf
from jobs.models import Job
from jobs.models.references import load
from jobs.tasks import Task, as_task, call

# So many are listed when an assertion fails.
_MOST_LISTED = 20
# Between the moments of two clocks.
_TOLERANCE = timedelta(seconds=1)


def assert_enqueued(
    task: Any = None,
    *,
    args: Iterable[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    run_after: timedelta | datetime | None = None,
    queue_name: str | None = None,
    priority: int | None = None,
    times: int | None = None,
) -> list[Job[Any]]:
    """The jobs that were enqueued so, whatever has become of them; AssertionError, with a list
    of what there is, unless there is one at least, or exactly as many as `times`.

    Calls are compared as the function would see them: `f(1, b=2)` is `f(1, 2)`, and a value may
    be `unittest.mock.ANY`. InvalidCall for what could be no call of it. `run_after` is from
    enqueue on, or a moment, each give or take a second; after a failure it is not known any more.
    """
    wanted = None if task is None else _task(task)
    args = None if args is None else tuple(args)
    if wanted is not None and not (args is None and kwargs is None):
        # What could be no call of it at all is a mistake of the test.
        wanted.check_call(args or (), kwargs or {})
    found = [
        job
        for job in _jobs(wanted)
        if (wanted is None or _is_of(job, wanted))
        and (queue_name is None or job.queue_name == queue_name)
        and (priority is None or job.priority == priority)
        and (run_after is None or _is_due(job, run_after))
        and ((args is None and kwargs is None) or _is_call(job, wanted, args, kwargs))
    ]
    if (bool(found) if times is None else len(found) == times) is False:
        given = {
            "args": args,
            "kwargs": kwargs,
            "run_after": run_after,
            "queue_name": queue_name,
            "priority": priority,
        }
        named = [f"{name}={value!r}" for name, value in given.items() if value is not None]
        what = ", ".join(["any task" if wanted is None else wanted.name, *named])
        often = "never" if not found else f"{len(found)} times"
        asked = "" if times is None else f", not {times} times"
        raise AssertionError(f"{what} was enqueued {often}{asked}. {_listed(_jobs(wanted))}")
    return found


def assert_not_enqueued(task: Any = None, **conditions: Any) -> None:
    """AssertionError if there is a job of the task (None: of any) that meets the conditions of
    `assert_enqueued`."""
    assert_enqueued(task, **conditions, times=0)


def _jobs(task: Task[..., Any] | None = None) -> list[Job[Any]]:
    alias = (call.database_of(task) if task else "") or conf.settings().database
    return list(Job.objects.using(alias).order_by("pk"))


def _task(task: Any) -> Task[..., Any]:
    if isinstance(task, str):
        raise TypeError(f"pass the task itself, not its name {task!r}")
    return as_task(task)


def _is_of(job: Job[Any], task: Task[..., Any]) -> bool:
    return job.task == task.name or job.task in task.aliases


def _is_due(job: Job[Any], run_after: timedelta | datetime) -> bool:
    if job.failures:
        # The row says when it runs next, and no more when it was first to run.
        return False
    due = job.enqueued_at + run_after if isinstance(run_after, timedelta) else run_after
    off: timedelta = job.run_at - due
    return abs(off) < _TOLERANCE


def _is_call(
    job: Job[Any],
    task: Task[..., Any] | None,
    args: Iterable[Any] | None,
    kwargs: Mapping[str, Any] | None,
) -> bool:
    try:
        own = codec.decode(job.arguments, load)
    except ObjectDoesNotExist:
        # What it names is gone by now.
        return False
    given: dict[str, Any] = {"args": list(args or ()), "kwargs": dict(kwargs or {})}
    if task is None:
        return bool(given == own)
    try:
        return _bound(task, given) == _bound(task, own)
    except TypeError:
        # A row that fits the function no more, or never did.
        return False


def _bound(task: Task[..., Any], call: Mapping[str, Any]) -> dict[str, Any]:
    bound: inspect.BoundArguments = task.signature.bind(*call["args"], **call["kwargs"])
    bound.apply_defaults()
    # Tuples, *args among them, come back from JSON as they went in.
    return dict(bound.arguments)


def _listed(jobs: list[Job[Any]]) -> str:
    if not jobs:
        return "Nothing was enqueued."
    lines = [_line(job) for job in jobs[:_MOST_LISTED]]
    if len(jobs) > _MOST_LISTED:
        lines.append(f"… and {len(jobs) - _MOST_LISTED} more")
    return "\n".join(["There is:", *(f"  {line}" for line in lines)])


def _line(job: Job[Any]) -> str:
    try:
        given = codec.decode(job.arguments, load)
    except ObjectDoesNotExist:
        # What it names is gone by now.
        given = job.arguments
    args = [repr(value) for value in given["args"]]
    args += [f"{name}={value!r}" for name, value in given["kwargs"].items()]
    told = [f"queue_name={job.queue_name!r}"]
    if job.priority:
        told.append(f"priority={job.priority}")
    if job.failures:
        told.append(f"{job.failures} failures")
    elif job.run_at > job.enqueued_at:
        told.append(f"run_after={job.run_at - job.enqueued_at}")
    return f"{job.task}({', '.join(args)})  {', '.join([*told, job.state])}"
