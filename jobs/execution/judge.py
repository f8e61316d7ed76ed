"""From an exception to an Outcome: what is a failure, and whether there is another attempt."""

from __future__ import annotations

import traceback
from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from jobs import retry
from jobs.bounds import check_delay
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
# Of several control exceptions in one group, the first of these counts.
_ORDER: tuple[type[BaseException], ...] = (Cancel, Retry, Snooze)
# So many exceptions of a chain or a group are looked at, and so many written down.
_MOST_EXAMINED, _MOST_SHOWN = 1_000, 20
# So many frames of one traceback are written down, those nearest to the error.
_MOST_FRAMES = 1_000


def judge(
    exception: BaseException, task: Task[..., Any], job: Claimed, context: Context
) -> Outcome:
    """Return how an attempt ended that raised `exception`.

    A group counts as what its members are: see docs/tasks.md, "Exception groups".
    """
    exception = _control_in(exception)
    if isinstance(exception, Cancel):
        return Cancelled(problem_of(exception))
    if isinstance(exception, Snooze):
        return _snoozed(exception)
    interruption = context.interruption
    reason = TIMEOUT if _contains(exception, JobTimeout) else ""
    if interruption is not None and _comes_of(exception, interruption):
        if type(exception) is type(interruption) or isinstance(exception, CancelledError):
            # Raised in another thread by its class alone, or as asyncio has it.
            exception = interruption.with_traceback(exception.__traceback__)
        if isinstance(interruption, JobCancelled):
            return Cancelled(problem_of(exception))
        reason = TIMEOUT
    delay = _next_delay(exception, task, job, context, is_timeout=reason == TIMEOUT)
    if isinstance(delay, timedelta):
        return Retried(problem_of(exception), delay, reason)
    return Failed(delay if delay is not None else problem_of(exception), reason)


def _snoozed(exception: Snooze) -> Outcome:
    try:
        if exception.delay is None:
            raise TypeError(
                f"{type(exception).__qualname__} has no delay; let its __init__ call "
                "super().__init__(delay)"
            )
        return Snoozed(check_delay(exception.delay, f"{type(exception).__qualname__}'s delay"))
    except (TypeError, ValueError) as error:
        error.__context__ = exception
        return Failed(problem_of(error))


def _leaves(exception: BaseException) -> Iterator[BaseException]:
    """The exceptions of a group, and of groups in it; or the one that is none."""
    ahead = [exception]
    for _ in range(_MOST_EXAMINED):
        if not ahead:
            return
        one = ahead.pop()
        if isinstance(one, BaseExceptionGroup):
            ahead.extend(reversed(one.exceptions[:_MOST_EXAMINED]))
        else:
            yield one


def _control_in(exception: BaseException) -> BaseException:
    """The exception by which the task steers its own job, if a group has no other ones."""
    if not isinstance(exception, BaseExceptionGroup):
        return exception
    leaves = list(_leaves(exception))
    if not all(isinstance(one, Cancel | Retry | Snooze) for one in leaves):
        return exception
    # What ends the job goes before what repeats it.
    return min(leaves, key=lambda one: _ORDER.index(next(k for k in _ORDER if isinstance(one, k))))


def _contains(exception: BaseException, kind: type[BaseException]) -> bool:
    return any(isinstance(one, kind) for one in _leaves(exception))


def _comes_of(exception: BaseException, interruption: BaseException) -> bool:
    """Whether the exception is the interruption, contains it, or was raised as it was handled."""
    kinds = (type(interruption), CancelledError)
    ahead: list[BaseException | None] = [exception]
    for _ in range(_MOST_EXAMINED):
        if not ahead:
            return False
        one = ahead.pop()
        if one is None:
            continue
        if isinstance(one, kinds):
            return True
        ahead += [one.__context__, one.__cause__]
        if isinstance(one, BaseExceptionGroup):
            ahead += one.exceptions[:_MOST_EXAMINED]
    return False


def after_a_kill(task: Task[..., Any], job: Claimed) -> timedelta | None:
    """The delay before another attempt, should this one have to be killed for its time limit;
    None for no more. Asked before it starts, so a back-off of the task's own is not called:
    there is no exception yet."""
    failures = job.failures + 1
    if failures >= task.limit_of_attempts(job.max_attempts):
        return None
    if not _is_to_be_retried(JobTimeout(), task):
        return None
    return retry.delay_after_kill(failures, task.backoff)


def _next_delay(
    exception: BaseException,
    task: Task[..., Any],
    job: Claimed,
    context: Context,
    *,
    is_timeout: bool,
) -> timedelta | Problem | None:
    """The delay before the next attempt; None for no more; a Problem of the back-off itself."""
    failures = job.failures + 1
    asked = isinstance(exception, Retry)
    if failures >= task.limit_of_attempts(job.max_attempts, asked_to_retry=asked):
        return None
    try:
        if isinstance(exception, Retry) and exception.delay is not None:
            return check_delay(exception.delay, f"{type(exception).__qualname__}'s delay")
        if not asked and not (
            _is_to_be_retried(exception, task)
            or (is_timeout and _is_to_be_retried(JobTimeout(), task))
        ):
            return None
        return retry.delay_after(exception, failures, task.backoff, context)
    except BaseException as error:
        error.__context__ = exception
        return problem_of(error)


def _is_to_be_retried(exception: BaseException, task: Task[..., Any]) -> bool:
    """Of a group: whether each of its exceptions is; or the group itself is named."""
    hopeless: tuple[type[BaseException], ...] = (*_HOPELESS, *task.dont_retry_on)
    if isinstance(exception, hopeless) or any(isinstance(o, hopeless) for o in _leaves(exception)):
        return False
    if task.retry_on is None or isinstance(exception, task.retry_on):
        return True
    wanted: tuple[type[BaseException], ...] = (*task.retry_on, Retry)
    return all(isinstance(one, wanted) for one in _leaves(exception))


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
        with _cut(exception) as (shown, left_out):
            made = traceback.TracebackException(
                type(shown), shown, frames, limit=-_MOST_FRAMES, compact=True
            )
            text = "".join(made.format())
        if left_out:
            text += f"(left out: {left_out} more exceptions)\n"
        return text
    except BaseException as error:
        # An exception's own attributes may raise, too.
        return f"(its traceback cannot be told: {type(error).__name__})"


@contextmanager
def _cut(exception: BaseException) -> Iterator[tuple[BaseException, str]]:
    """Cut the exception's chain, and the outermost group, to a length that is written down quickly.

    Nested groups stay whole: `traceback` shows 15 members of each, and 20,000 take 0.3 s.
    """
    links: list[tuple[BaseException, BaseException | None, BaseException | None]] = []
    shown, left_out = exception, ""
    if isinstance(exception, BaseExceptionGroup) and len(exception.exceptions) > _MOST_SHOWN:
        shown = exception.derive(exception.exceptions[:_MOST_SHOWN]).with_traceback(
            exception.__traceback__
        )
        shown.__cause__, shown.__context__ = exception.__cause__, exception.__context__
        left_out = f"{len(exception.exceptions) - _MOST_SHOWN:,}"
    try:
        ahead: list[tuple[BaseException, int]] = [(shown, 0)]
        met = 0
        while ahead:
            one, depth = ahead.pop()
            met += 1
            if depth >= _MOST_SHOWN or met >= _MOST_EXAMINED:
                if one.__cause__ is not None or one.__context__ is not None:
                    links.append((one, one.__cause__, one.__context__))
                    one.__cause__ = one.__context__ = None
                    left_out = left_out or "some"
                continue
            ahead += [(n, depth + 1) for n in (one.__cause__, one.__context__) if n is not None]
            if isinstance(one, BaseExceptionGroup):
                ahead += [(member, depth + 1) for member in one.exceptions[:_MOST_SHOWN]]
        yield shown, left_out
    finally:
        # `raise … from None` sets a flag with the cause: that stays as it was.
        for one, cause, context in links:
            suppressed = one.__suppress_context__
            one.__cause__, one.__context__ = cause, context
            one.__suppress_context__ = suppressed
