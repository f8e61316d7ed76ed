"""Call the function of a claimed job and return how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from psycopg.errors import DeadlockDetected, SerializationFailure

from jobs import codec, conf
from jobs.errors import InvalidCall, JobsError
from jobs.models.references import load
from jobs.outcomes import Committed, Outcome, Snoozed, Succeeded, TakenOver
from jobs.signals import job_finished, job_retried, job_started

from .heard import Heard
from .judge import judge

if TYPE_CHECKING:
    from jobs.lifecycle import Claimed
    from jobs.tasks import Task

    from .context import Context

logger = logging.getLogger("jobs")

# An atomic task whose end met another's change of its row runs again so much later.
_RUN_AGAIN = timedelta(seconds=1)
# (the task's own connection, job, result) → whether the finish was written.
Finish = Callable[[Any, "Claimed", str | None], bool]


def execute(task: Task[..., Any], job: Claimed, context: Context) -> Outcome:
    """Run a plain function. Whatever it raises, SystemExit too, is its outcome, not ours."""
    if not _is_heard(task):
        return _execute(task, job, context, None)
    try:
        heard = Heard(task, job, context)
    except BaseException as exception:
        _leave_to_tester(exception, context)
        return judge(exception, task, job, context)
    outcome = _execute(task, job, context, heard)
    heard.end(outcome)
    return outcome


def _is_heard(task: Task[..., Any]) -> bool:
    """Whether anybody listens to the attempts of the task: else nothing is paid for it."""
    return (
        task.django is not None
        or bool(job_finished.receivers)
        or bool(job_started.receivers)
        or bool(job_retried.receivers)
    )


def _execute(task: Task[..., Any], job: Claimed, context: Context, heard: Heard | None) -> Outcome:
    try:
        if heard is not None and context.interruption is not None:
            # It came while others were told of the start, and one of them may have caught it.
            raise context.interruption
        args, kwargs = codec.read_call(job.arguments, load)
        if task.takes_context:
            args.insert(0, context if heard is None else heard.context)
        value = task.func(*args, **kwargs)
        if heard is not None:
            value = heard.returned(value)
        return Succeeded(None if value is None else _result(task, value))
    except BaseException as exception:
        _leave_to_tester(exception, context)
        if heard is not None:
            heard.exception = exception
        return judge(exception, task, job, context)


async def aexecute(task: Task[..., Any], job: Claimed, context: Context) -> Outcome:
    """Run a coroutine function; its cancellation stands for what interrupted it."""
    heard: Heard | None = None
    try:
        if context.interruption is not None:
            raise asyncio.CancelledError
        if _is_heard(task):
            # Receivers may use the ORM.
            heard = await sync_to_async(Heard)(task, job, context)
        args, kwargs = await _arguments(job)
        if task.takes_context:
            args.insert(0, context if heard is None else heard.context)
        value = await task.func(*args, **kwargs)
        if heard is not None:
            value = heard.returned(value)
        outcome: Outcome = Succeeded(None if value is None else _result(task, value))
    except BaseException as exception:
        _leave_to_tester(exception, context)
        meant = _meant(exception, context)
        outcome = judge(meant, task, job, context)
        if heard is not None:
            heard.exception = meant
    if heard is not None:
        # Whatever interrupts it now comes behind the function's end, which stands.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(asyncio.ensure_future(sync_to_async(heard.end)(outcome)))
    return outcome


def _leave_to_tester(exception: BaseException, context: Context) -> None:
    """Ctrl-C, where a test runs the job where it stands."""
    if context.is_inline and isinstance(exception, KeyboardInterrupt):
        raise exception


def _meant(exception: BaseException, context: Context) -> BaseException:
    """A cancellation stands for what interrupted the coroutine."""
    interruption = context.interruption
    if interruption is None or not isinstance(exception, asyncio.CancelledError):
        return exception
    return interruption.with_traceback(exception.__traceback__)


def execute_atomic(task: Task[..., Any], job: Claimed, context: Context, finish: Finish) -> Outcome:
    """Run a plain function in one transaction with its own finish: both commit, or neither.

    The finish is the last statement, and fenced; when the claim is another's by now, all of
    it is rolled back.
    """
    heard: Heard | None = None
    if _is_heard(task):
        try:
            heard = Heard(task, job, context)
        except BaseException as exception:
            _leave_to_tester(exception, context)
            return judge(exception, task, job, context)
    outcome = _execute_atomic(task, job, context, finish, heard)
    if heard is not None:
        heard.end(outcome)
    return outcome


def _execute_atomic(
    task: Task[..., Any], job: Claimed, context: Context, finish: Finish, heard: Heard | None
) -> Outcome:
    alias = conf.settings().database
    if conf.serves_another() and alias != DEFAULT_DB_ALIAS:
        told = f"{task.name} is atomic, and this worker serves {alias!r}: see the check jobs.E008"
        return judge(InvalidCall(told), task, job, context)
    committed: list[bool] = []
    pid = os.getpid()
    try:
        with transaction.atomic(using=alias):
            if not _is_read_committed(alias):
                context.hold_progress()
            # The first hook, so it runs before any of the task's that may raise.
            transaction.on_commit(lambda: committed.append(True), using=alias)
            outcome = _execute(task, job, context, heard)
            if os.getpid() != pid:
                # The task has forked, and this is its child: the transaction is its parent's.
                os._exit(0)
            if not isinstance(outcome, Succeeded):
                transaction.set_rollback(True, using=alias)
                return outcome
            # Else a deferred constraint would fail at COMMIT, behind the finish.
            connections[alias].check_constraints()
            job.finished_at = job.now()
            _finish(finish, connections[alias].connection, job, outcome.result)
    except _ClaimLost as lost:
        return lost.outcome
    except BaseException as exception:
        if not committed:
            _leave_to_tester(exception, context)
            if heard is not None:
                heard.exception = exception
            return judge(exception, task, job, context)
        logger.exception("job=%s task=%s an on_commit hook raised", job.id, job.task)
    return Committed()


# Whether the sessions of these connections are in READ COMMITTED, PostgreSQL's default.
_read_committed: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def _is_read_committed(alias: str) -> bool:
    """Of the transaction that is open. Asked once for each connection (a query)."""
    raw = connections[alias].connection
    known = _read_committed.get(raw)
    if known is None:
        with connections[alias].cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            known = _read_committed[raw] = cursor.fetchone()[0] == "read committed"
    return known


def _finish(finish: Finish, connection: Any, job: Claimed, result: str | None) -> None:
    try:
        if not finish(connection, job, result):
            raise _ClaimLost(TakenOver())
    except (SerializationFailure, DeadlockDetected) as error:
        # Under REPEATABLE READ or SERIALIZABLE another's change of the job's own row, as a
        # cancellation, is a conflict. The work is undone, so again, and soon.
        raise _ClaimLost(Snoozed(_RUN_AGAIN)) from error


class _ClaimLost(JobsError):
    """Rolls back the transaction of an atomic task whose end cannot be written."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


async def _arguments(job: Claimed) -> tuple[list[Any], dict[str, Any]]:
    if '"model"' not in job.arguments:
        return codec.read_call(job.arguments, load)
    # Loading model instances is a query, which async code must leave to a thread.
    return await sync_to_async(codec.read_call)(job.arguments, load)


def _result(task: Task[..., Any], value: Any) -> str | None:
    if not task.keep_result:
        return None
    what = f"the result of {task.name}"
    encoded = codec.encode(value, what)
    return codec.write(encoded, max_bytes=conf.settings().max_result_bytes, what=what)
