"""A call made into a job: checked here, before any SQL; written by `lifecycle.insert`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload
from uuid import UUID

from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.exceptions import AppRegistryNotReady, SynchronousOnlyOperation
from django.db.utils import ProgrammingError
from psycopg.errors import UndefinedColumn, UndefinedTable

from jobs import codec, conf, ids
from jobs.bounds import LAST_MOMENT
from jobs.errors import InvalidCall, InvalidTask
from jobs.signals import job_enqueued, jobs_enqueued

from .definition import Task, as_task
from .registry import check_allowed, configured, sender_of

if TYPE_CHECKING:
    from jobs.lifecycle import Draft
    from jobs.models import Job

P = ParamSpec("P")
R = TypeVar("R")
Call = tuple[Any, ...] | Mapping[str, Any]

_NO_ARGUMENTS = '{"args":[],"kwargs":{}}'
# One statement for so many calls: large enough to be cheap, small enough to be sent.
_BATCH = 5_000


@overload
def enqueue(func: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
@overload
def enqueue(
    func: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
) -> Job[R]: ...
@overload
def enqueue(func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
def enqueue(func: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
    """Run `func(*args, **kwargs)` in the background, once this transaction commits.

    The job is a row of the caller's transaction: a rollback, and there was never a job.
    Options are never among the arguments: `task(func).using(queue_name=…).enqueue(…)`.
    NotStorable, InvalidCall, InvalidTask or TaskNotAllowed before any SQL.
    """
    return insert_one(as_task(func), args, kwargs)


@overload
async def aenqueue(func: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
@overload
async def aenqueue(
    func: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
) -> Job[R]: ...
@overload
async def aenqueue(func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
async def aenqueue(func: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
    """`enqueue`, from async code."""
    return await sync_to_async(insert_one)(as_task(func), args, kwargs)


@overload
def enqueue_on_commit(func: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
@overload
def enqueue_on_commit(func: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
def enqueue_on_commit(func: Any, /, *args: Any, **kwargs: Any) -> None:
    """`enqueue`, once the default database's transaction has committed: for jobs that are kept in
    another database than the data that they are about.

    The call is checked now. A process that dies between the two commits has enqueued nothing;
    where both are one database, `enqueue` needs no hook, and nothing can come between.
    """
    from django.db import transaction

    task = as_task(func)
    encoded_call(checked(task), args, kwargs)

    def insert() -> None:
        insert_one(task, args, kwargs)

    transaction.on_commit(insert)


def enqueue_many(func: Task[..., Any] | Callable[..., Any], calls: Iterable[Call]) -> list[UUID]:
    """Insert a job for each call and return their ids, in order.

    Each call is a tuple (positional arguments) or a dict (keywords). All are checked before
    the first is written; a TypeError names the index of the one that is wrong.
    """
    return insert_many(as_task(func), calls)


async def aenqueue_many(
    func: Task[..., Any] | Callable[..., Any], calls: Iterable[Call]
) -> list[UUID]:
    """`enqueue_many`, from async code."""
    return await sync_to_async(insert_many)(as_task(func), calls)


def insert_one(
    task: Task[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    using: str = "",
) -> Job[Any]:
    """Check the call, insert it, and return the job. `using`: in another database."""
    # Deferred: models are not ready when tasks are declared.
    from jobs.lifecycle import insert
    from jobs.models import Job, State

    task = checked(task)
    using = using or database_of(task)
    arguments = encoded_call(task, args, kwargs)
    settings = conf.settings()
    common = draft(task)
    id_ = ids.uuid7()
    text = codec.write(
        arguments, max_bytes=settings.max_argument_bytes, what=f"the arguments of {task.name}"
    )
    try:
        made = insert(common, [id_], [text], using=using)
    except _EXPLAINED as error:
        _explain(error)
        raise
    values: dict[str, Any] = {
        "id": id_,
        "task": task.name,
        "queue_name": common.queue_name,
        "priority": common.priority,
        "state": State.QUEUED,
        "claimable": True,
        "arguments": arguments,
        "metadata": dict(task.metadata or {}),
        "enqueued_at": made.enqueued_at,
        "run_at": made.run_at,
        "expires_at": made.expires_at,
        "timeout": common.timeout,
        "attempt": 0,
        "failures": 0,
        "max_attempts": common.max_attempts,
        "losses": 0,
        "max_losses": common.max_losses,
    }
    # As Django makes them of rows; by keywords it takes thrice as long.
    names = [field.attname for field in Job._meta.concrete_fields]
    values_in_order = [values.get(name) for name in names]
    job: Job[Any] = Job.from_db(using or settings.database, names, values_in_order)
    if job_enqueued.receivers:
        job_enqueued.send(sender_of(task), job=job)
    return job


def insert_many(task: Task[..., Any], calls: Iterable[Call]) -> list[UUID]:
    """Check all calls, then insert them, some thousands a statement, in one transaction."""
    from django.db import transaction

    from jobs.lifecycle import insert

    task = checked(task)
    settings = conf.settings()
    texts = [_text(task, call, index, settings) for index, call in enumerate(calls)]
    made = ids.uuid7s(len(texts))
    common = draft(task)
    using = database_of(task) or settings.database
    try:
        with transaction.atomic(using=using, savepoint=False):
            for start in range(0, len(texts), _BATCH):
                stop = start + _BATCH
                insert(common, made[start:stop], texts[start:stop], using=using)
    except _EXPLAINED as error:
        _explain(error)
        raise
    if made and jobs_enqueued.receivers:
        jobs_enqueued.send(sender_of(task), ids=made)
    return made


# What a caller may meet at first.
_EXPLAINED = (SynchronousOnlyOperation, ProgrammingError)


def _explain(error: Exception) -> None:
    """Raise an error of Django again with its cure, where that is known."""
    if isinstance(error, SynchronousOnlyOperation):
        raise SynchronousOnlyOperation(
            "enqueue() was called from async code; use `await aenqueue(…)`, aenqueue_many(), or "
            "task.aenqueue() there"
        ) from error
    if isinstance(error.__cause__, UndefinedTable | UndefinedColumn):
        database = conf.settings().database
        command = "migrate" if database == "default" else f"migrate --database {database}"
        raise ProgrammingError(
            f"{str(error).splitlines()[0]}: the tables of jobs are not there, or older than "
            f"the code; run manage.py {command}"
        ) from error


def database_of(task: Task[..., Any]) -> str:
    """Where a backend of Django's own API keeps the task's jobs; empty: where JOBS says."""
    return "" if task.django is None else getattr(task.django.get_backend(), "database", "")


def get_job(id_: str | UUID, *, using: str = "", of: Task[..., Any] | None = None) -> Job[Any]:
    """Return the job of that id, from the jobs' database.

    Raises Job.DoesNotExist when there is none, or when it is not a job of the task `of`.
    """
    from jobs.models import Job

    job: Job[Any] = Job.objects.using(using or conf.settings().database).get(pk=id_)
    name = conf.settings().task_aliases.get(job.task, job.task)
    if of is not None and name not in (of.name, *of.aliases):
        raise Job.DoesNotExist(f"job {id_} is a job of {job.task}, not of {of.name}")
    return job


def checked(task: Task[..., Any]) -> Task[..., Any]:
    """The task with the site's settings, refused where a worker would refuse it."""
    if not apps.ready:
        raise AppRegistryNotReady(
            f"{task.name} was enqueued while the site's apps were still loading: at the import of "
            "a module, so by each process that starts. Call enqueue in a function."
        )
    check_allowed(task)
    task = configured(task)
    queues = conf.settings().queues
    if queues is not None and task.queue_name not in queues:
        raise InvalidTask(
            f"task {task.name}: JOBS['QUEUES'] has no queue {task.queue_name!r}; "
            f"it has {', '.join(queues)}"
        )
    return task


def encoded_call(
    task: Task[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    index: int | None = None,
) -> dict[str, Any]:
    """The call as JSON keeps it; InvalidCall or NotStorable naming the argument."""
    try:
        task.check_call(args, kwargs)
    except InvalidCall:
        # Once more, for the words.
        task.check_call(args, kwargs, _owner(task, index))
    names = task.argument_names
    positional = [
        value
        if codec.is_plain(value)
        else codec.encode(value, _place(i, names, _owner(task, index)))
        for i, value in enumerate(args)
    ]
    named = {
        name: value
        if codec.is_plain(value)
        else codec.encode(value, f"argument {name!r} of {_owner(task, index)}")
        for name, value in kwargs.items()
    }
    for name in kwargs:
        if not codec.is_plain(name):
            codec.encode(name, f"the name of argument {name!r} of {_owner(task, index)}")
    return {"args": positional, "kwargs": named}


def recalled(task: Task[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A call that is kept as JSON, checked as `enqueue` checks one: InvalidCall, NotStorable, …

    InvalidCall, too, where an argument cannot be read: a model instance that is gone.
    """
    from jobs.models.references import load

    task = checked(task)
    try:
        args = codec.decode(arguments["args"], load)
        kwargs = {name: codec.decode(value, load) for name, value in arguments["kwargs"].items()}
    except Exception as error:
        # A tag may say anything.
        told = f"an argument of {task.name} cannot be read: {type(error).__name__}: {error}"
        raise InvalidCall(told) from None
    made = encoded_call(task, tuple(args), kwargs)
    what = f"the arguments of {task.name}"
    codec.write(made, max_bytes=conf.settings().max_argument_bytes, what=what)
    return made


def _owner(task: Task[..., Any], index: int | None) -> str:
    return task.name if index is None else f"{task.name}, calls[{index}]"


def _place(i: int, names: tuple[str, ...], owner: str) -> str:
    return f"argument {names[i]!r} of {owner}" if i < len(names) else f"args[{i}] of {owner}"


def _text(task: Task[..., Any], call: Call, index: int, settings: conf.Settings) -> str:
    args, kwargs = _arguments(task, call, index)
    if not args and not kwargs and task.fits():
        return _NO_ARGUMENTS
    encoded = encoded_call(task, args, kwargs, index=index)
    text = codec.dumps(encoded)
    if len(text) > settings.max_argument_bytes:
        what = f"the arguments of {task.name}, calls[{index}],"
        codec.write(encoded, max_bytes=settings.max_argument_bytes, what=what)
    return text


def _arguments(
    task: Task[..., Any], call: Call, index: int
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(call, tuple):
        return call, {}
    if isinstance(call, Mapping):
        return (), call
    raise TypeError(
        f"calls[{index}] of {task.name} is of type {type(call).__name__}: each must be a tuple "
        "(positional arguments) or a dict (keywords); one argument alone is (value,)"
    )


def draft(task: Task[..., Any], *, schedule_id: int | None = None) -> Draft:
    """What all jobs of the task have in common; a beat names its schedule."""
    from jobs.lifecycle import Draft

    settings = conf.settings()
    metadata = None
    if task.metadata is not None:
        what = f"the metadata of {task.name}"
        encoded = codec.encode(dict(task.metadata), what)
        metadata = codec.write(encoded, max_bytes=settings.max_argument_bytes, what=what)
    after = task.run_after
    expires = task.expires_after
    if isinstance(after, datetime) and expires is not None and after > LAST_MOMENT - expires:
        raise InvalidTask(
            f"task {task.name}: run_after {after} and expires_after {expires} lead "
            f"beyond the year {LAST_MOMENT.year}"
        )
    asks = task.max_attempts is not None or task.asks_for_retries
    return Draft(
        task=task.name,
        queue_name=task.queue_name,
        priority=task.priority,
        max_losses=settings.max_losses if task.max_losses is None else task.max_losses,
        max_attempts=task.limit_of_attempts(None) if asks else None,
        run_at=after if isinstance(after, datetime) else None,
        delay=after if isinstance(after, timedelta) else timedelta(0),
        timeout=task.timeout,
        expires_after=task.expires_after,
        metadata=metadata,
        schedule_id=schedule_id,
    )
