"""For tests: run what was enqueued, here and now, through the worker's own code.

Inside of a `TestCase`'s transaction, too: claims and records go over the test's own connection.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from asgiref.sync import async_to_sync
from django.db import connections
from psycopg.types.string import TextLoader

from . import conf, ids, lifecycle
from .errors import JobExpired
from .execution import Context, aexecute, execute, execute_atomic, problem_of
from .lifecycle import START, Claimed, Ended, Told
from .models import Job
from .outcomes import EXPIRED, Cancelled, Failed, Outcome
from .tasks import resolve
from .worker import Options, presence

_NAME = "tests/1"
_BROKEN = psycopg.pq.TransactionStatus.INERROR


def run_jobs(*, at_most: int = 1000) -> list[Job[Any]]:
    """Run what is due, and what that enqueues, in order, until nothing is; the jobs that ran.

    A job that is retried at once runs again. KeyboardInterrupt is the tester's, and is raised.
    """
    alias = conf.settings().database
    ran: list[str] = []
    with _worker(alias) as (connection, worker_id):
        while len(ran) < at_most:
            job = _claim(connection, worker_id)
            if job is None:
                break
            ran.append(job.id)
            _record(connection, job, _run(connection, job))
    found = Job.objects.using(alias).in_bulk(ran)
    return [row for id_ in dict.fromkeys(ran) if (row := found.get(_uuid(id_))) is not None]


def _uuid(text: str) -> Any:
    return Job._meta.pk.to_python(text)


@contextmanager
def _worker(alias: str) -> Iterator[tuple[Any, Any]]:
    connection: Any = _Borrowed(alias)
    worker_id = ids.uuid7()
    presence.register(connection, worker_id, Options(name="tests", processes=1), [])
    try:
        yield connection, worker_id
    finally:
        presence.leave(connection, worker_id)


def _claim(connection: Any, worker_id: Any) -> Claimed | None:
    lanes = list(lifecycle.look(connection).first)
    if not lanes:
        return None
    # The best lane first; a claim orders what it takes.
    for lane in sorted(lanes, key=lambda lane: -lane.priority):
        found = lifecycle.claim(
            connection,
            {lane: START},
            1,
            claim_id=ids.uuid7(),
            worker=_NAME,
            worker_id=worker_id,
            runner=ids.uuid7(),
        ).read()
        if found.jobs:
            return found.jobs[0]
    return None


def _run(connection: Any, job: Claimed) -> Outcome:
    def tell(job: Claimed, done: float, total: float | None, message: str) -> None:
        lifecycle.write_progress(connection, [Told(job, done, total, message)])

    context = Context(job, tell, _NAME, is_inline=True)
    job.started_at = job.finished_at = job.now()
    if job.expires_at is not None and job.expires_at <= job.started_at:
        late = JobExpired(f"not started in time: {job.started_at - job.expires_at:.1f} s late")
        return Cancelled(problem_of(late), EXPIRED)
    try:
        task = resolve(job.task)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # As in a worker: importing its module may raise anything.
        return Failed(problem_of(error))
    with _mending():
        outcome: Outcome = contextvars.Context().run(_call, task, job, context)
    job.finished_at = job.now()
    return outcome


@contextmanager
def _mending() -> Iterator[None]:
    """A task that breaks a test's transaction breaks no more than what it did itself."""
    wrapper = connections[conf.settings().database]
    if not wrapper.in_atomic_block:
        yield
        return
    savepoint = wrapper.savepoint()
    assert savepoint is not None
    yield
    if wrapper.needs_rollback or wrapper.connection.info.transaction_status == _BROKEN:
        wrapper.needs_rollback = False
        wrapper.savepoint_rollback(savepoint)
    else:
        wrapper.savepoint_commit(savepoint)


def _call(task: Any, job: Claimed, context: Context) -> Outcome:
    context.enter()
    if task.is_async:
        return async_to_sync(aexecute)(task, job, context)
    if task.atomic:
        return execute_atomic(task, job, context, lifecycle.commit_finish)
    return execute(task, job, context)


def _record(connection: Any, job: Claimed, outcome: Outcome) -> None:
    lifecycle.record(connection, [Ended(job, outcome)])
    lifecycle.forget_claims(connection, [job.claim])


class _Borrowed:
    """Django's own connection, as the worker's statements want one: results as text."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def execute(self, query: Any, parameters: Any = None) -> psycopg.Cursor[Any]:
        # Asked each time: a task may have closed it.
        connections[self._alias].ensure_connection()
        cursor = psycopg.Cursor(connections[self._alias].connection)
        cursor.adapters.register_loader("uuid", TextLoader)
        cursor.adapters.register_loader("jsonb", TextLoader)
        return cursor.execute(query, parameters, prepare=False)
