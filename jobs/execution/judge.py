"""From an exception to an Outcome: what is a failure, and whether there is another attempt."""

from __future__ import annotations

import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from jobs import retry
from jobs.errors import (
    Cancel,
    InvalidCall,
    JobCancelled,
    JobTimeout,
    NotStorable,
    Retry,
    Snooze,
    TaskNotAllowed,
)
from jobs.outcomes import TIMEOUT, Cancelled, Failed, Outcome, Problem, Retried, Snoozed

from .text import clean

if TYPE_CHECKING:
    from jobs.lifecycle import Claimed
    from jobs.tasks import Task

    from .context import Context

# What would end the same way the next time, whatever the task says of retries.
_HOPELESS = (NotStorable, InvalidCall, TaskNotAllowed)


def judge(
    exception: BaseException, task: Task[..., Any], job: Claimed, context: Context
) -> Outcome:
    """How an attempt ended that raised `exception`."""
    if context.interruption is not None and isinstance(exception, type(context.interruption)):
        exception = context.interruption.with_traceback(exception.__traceback__)
        if isinstance(exception, JobCancelled):
            return Cancelled(problem_of(exception))
    if isinstance(exception, Cancel):
        return Cancelled(problem_of(exception))
    if isinstance(exception, Snooze):
        return Snoozed(exception.delay)
    reason = TIMEOUT if isinstance(exception, JobTimeout) else ""
    delay = _next_delay(exception, task, job, context)
    if isinstance(delay, timedelta):
        return Retried(problem_of(exception), delay, reason)
    return Failed(delay if delay is not None else problem_of(exception), reason)


def after_a_kill(task: Task[..., Any], job: Claimed) -> timedelta | None:
    """The delay before another attempt, should this one have to be killed for its time limit;
    None for no more. Asked before it starts, so a back-off of the task's own is not called:
    there is no exception yet."""
    failures = job.failures + 1
    if failures >= task.limit_of_attempts(job.max_attempts):
        return None
    if not _is_to_be_retried(JobTimeout(), task):
        return None
    return task.backoff if isinstance(task.backoff, timedelta) else retry.exponential(failures)


def _next_delay(
    exception: BaseException, task: Task[..., Any], job: Claimed, context: Context
) -> timedelta | Problem | None:
    """The delay before the next attempt; None for no more; a Problem of the back-off itself."""
    failures = job.failures + 1
    asked = isinstance(exception, Retry)
    if failures >= task.limit_of_attempts(job.max_attempts, asked_to_retry=asked):
        return None
    if asked and exception.delay is not None:  # type: ignore[attr-defined]
        return exception.delay  # type: ignore[attr-defined,no-any-return]
    if not asked and not _is_to_be_retried(exception, task):
        return None
    try:
        return retry.delay_after(exception, failures, task.backoff, context)
    except BaseException as error:
        error.__context__ = exception
        return problem_of(error)


def _is_to_be_retried(exception: BaseException, task: Task[..., Any]) -> bool:
    if isinstance(exception, (*_HOPELESS, *task.dont_retry_on)):
        return False
    return task.retry_on is None or isinstance(exception, task.retry_on)


def problem_of(exception: BaseException) -> Problem:
    """The exception as text that PostgreSQL can keep, without the worker's own frames."""
    kind = type(exception)
    return Problem(
        clean(f"{kind.__module__}.{kind.__qualname__}"),
        clean(_message(exception)),
        clean(_traceback(exception)),
    )


def _own_frames(exception: BaseException) -> Any:
    """The traceback from the task's own code on."""
    frames = exception.__traceback__
    here = __name__.rpartition(".")[0]
    while frames is not None and frames.tb_next is not None:
        if not frames.tb_frame.f_globals.get("__name__", "").startswith(here):
            break
        frames = frames.tb_next
    return frames


def _message(exception: BaseException) -> str:
    try:
        return str(exception)
    except BaseException as error:
        return f"(its str() raised {type(error).__name__})"


def _traceback(exception: BaseException) -> str:
    frames = _own_frames(exception)
    try:
        told = traceback.TracebackException(type(exception), exception, frames, compact=True)
        return "".join(told.format())
    except BaseException as error:
        # An exception's own attributes may raise, too.
        return f"(its traceback cannot be told: {type(error).__name__})"
