"""Call the function of a claimed job and return how it ended."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from jobs import codec, conf
from jobs.errors import JobsError
from jobs.models.references import load
from jobs.outcomes import Committed, Outcome, Succeeded, TakenOver

from .judge import judge

if TYPE_CHECKING:
    from jobs.lifecycle import Claimed
    from jobs.tasks import Task

    from .context import Context

logger = logging.getLogger("jobs")

# (the task's own connection, job, result) → whether the finish was written.
Finish = Callable[[Any, "Claimed", str | None], bool]


def execute(task: Task[..., Any], job: Claimed, context: Context) -> Outcome:
    """Run a plain function. Whatever it raises, SystemExit too, is its outcome, not ours."""
    try:
        args, kwargs = codec.read_call(job.arguments, load)
        if task.takes_context:
            args.insert(0, context)
        value = task.func(*args, **kwargs)
        return Succeeded(None if value is None else _result(task, value))
    except BaseException as exception:
        return judge(exception, task, job, context)


async def aexecute(task: Task[..., Any], job: Claimed, context: Context) -> Outcome:
    """Run a coroutine function; its cancellation stands for what interrupted it."""
    try:
        if context.interruption is not None:
            raise asyncio.CancelledError
        args, kwargs = await _arguments(job)
        if task.takes_context:
            args.insert(0, context)
        value = await task.func(*args, **kwargs)
        return Succeeded(None if value is None else _result(task, value))
    except asyncio.CancelledError as cancelled:
        interruption = context.interruption
        exception = (
            interruption.with_traceback(cancelled.__traceback__) if interruption else cancelled
        )
        return judge(exception, task, job, context)
    except BaseException as exception:
        return judge(exception, task, job, context)


def execute_atomic(task: Task[..., Any], job: Claimed, context: Context, finish: Finish) -> Outcome:
    """Run a plain function in one transaction with its own finish: both commit, or neither.

    The finish is the last statement, and fenced; when the claim is another's by now, all of
    it is rolled back.
    """
    alias = conf.settings().database
    committed: list[bool] = []
    pid = os.getpid()
    try:
        with transaction.atomic(using=alias):
            # The first hook, so it runs before any of the task's that may raise.
            transaction.on_commit(lambda: committed.append(True), using=alias)
            outcome = execute(task, job, context)
            if os.getpid() != pid:
                # The task has forked, and this is its child: the transaction is its parent's.
                os._exit(0)
            if not isinstance(outcome, Succeeded):
                transaction.set_rollback(True, using=alias)
                return outcome
            # Else a deferred constraint would fail at COMMIT, behind the finish.
            connections[alias].check_constraints()
            job.finished_at = job.now()
            if not finish(connections[alias].connection, job, outcome.result):
                raise _ClaimLost
    except _ClaimLost:
        return TakenOver()
    except BaseException as exception:
        if not committed:
            return judge(exception, task, job, context)
        logger.exception("job=%s task=%s an on_commit hook raised", job.id, job.task)
    return Committed()


class _ClaimLost(JobsError):
    """Rolls back the transaction of an atomic task whose claim is another's."""


async def _arguments(job: Claimed) -> tuple[list[Any], dict[str, Any]]:
    if '"model"' not in job.arguments:
        return codec.read_call(job.arguments, load)
    # Loading model instances is a query, which async code must leave to a thread.
    from asgiref.sync import sync_to_async

    return await sync_to_async(codec.read_call)(job.arguments, load)


def _result(task: Task[..., Any], value: Any) -> str | None:
    if not task.keep_result:
        return None
    what = f"the result of {task.name}"
    encoded = codec.encode(value, what)
    return codec.write(encoded, max_bytes=conf.settings().max_result_bytes, what=what)
