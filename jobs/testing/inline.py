"""Run what was enqueued, here and now, through the worker's own code."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

import psycopg
from asgiref.sync import async_to_sync
from django.db import connections

from jobs import beat, conf, ids, lifecycle
from jobs.errors import JobCancelled, JobExpired, JobFailed, JobTimeout
from jobs.execution import (
    Context,
    aexecute,
    execute,
    execute_atomic,
    in_job,
    judge,
    problem_of,
)
from jobs.lifecycle import START, Claimed, Ended, Lane, Place, Told
from jobs.models import Job
from jobs.outcomes import EXPIRED, Cancelled, Failed, Outcome, Problem
from jobs.signals import job_enqueued, jobs_enqueued
from jobs.tasks import resolve
from jobs.worker import Options, presence
from jobs.worker.report import tell_outcome
from jobs.worker.slots import INTERRUPT, Slot, ended_late, too_long
from jobs.worker.watch import Watch

from .borrowed import Borrowed

_NAME = "tests/1"
_BROKEN = psycopg.pq.TransactionStatus.INERROR
_watch = Watch()


def run_jobs(*jobs: Job[Any], at_most: int = 1000, raising: bool = False) -> list[Job[Any]]:
    """Run what is due, and what that enqueues, in order, until nothing is; the jobs that ran, as
    their rows are then. Given jobs: these, and no others.

    A job that is retried at once runs again. `raising`: JobFailed for the first that has failed
    for good, with its traceback. KeyboardInterrupt is the tester's, and is raised.
    """
    alias = conf.settings().database
    ran: list[str] = []
    with _worker(alias) as (connection, worker_id):
        while len(ran) < at_most:
            job = _claim_any(connection, worker_id, jobs)
            if job is None:
                break
            ran.append(job.id)
            outcome = _run(connection, job)
            _record(connection, job, outcome)
            if raising and isinstance(outcome, Failed):
                raise _as_error(outcome.problem)
    found = Job.objects.using(alias).in_bulk(ran)
    return [row for id_ in dict.fromkeys(ran) if (row := found.get(UUID(id_))) is not None]


def _as_error(problem: Problem) -> JobFailed:
    error = JobFailed(problem.exception_class, problem.message, problem.traceback)
    error.add_note(problem.traceback)
    return error


# Of those that last, whether it raises; the innermost decides.
_immediate: list[bool] = []
_running = threading.local()


@contextmanager
def immediate(*, raising: bool = False) -> Iterator[None]:
    """While it lasts, whatever is due runs as soon as it is enqueued, as by `run_jobs`; the job
    that `enqueue` returns has then ended.

    What a running job enqueues runs when that has ended, as with a worker; what follows a job that
    is cancelled, at the next enqueue.
    """
    both = (job_enqueued, jobs_enqueued)
    if not _immediate:
        for one in both:
            one.connect(_run_at_once)
    _immediate.append(raising)
    try:
        yield
    finally:
        _immediate.pop()
        if not _immediate:
            for one in both:
                one.disconnect(_run_at_once)


_by_setting = ExitStack()


def follow_setting(is_immediate: bool) -> None:
    """Run every job immediately from now on, as JOBS["IMMEDIATE"] asks, or stop doing so."""
    _by_setting.close()
    if is_immediate:
        _by_setting.enter_context(immediate())


def _run_at_once(job: Job[Any] | None = None, **_: Any) -> None:
    # What a running job enqueues runs when that has ended; in a worker, as any other job.
    if in_job() or getattr(_running, "now", False):
        return
    _running.now = True
    try:
        run_jobs(raising=_immediate[-1])
    finally:
        _running.now = False
    if job is not None:
        job.refresh()


def run_beat() -> list[Job[Any]]:
    """Do once what a beat does: bring the rows in step with the schedules that code declares,
    and enqueue what is due. The jobs that it enqueued, which have not run."""
    alias = conf.settings().database
    scheduled = Job.objects.using(alias).filter(schedule_id__isnull=False)
    before = set(scheduled.values_list("pk", flat=True))
    beat.synchronise()
    one: Any = Borrowed(alias)
    server = beat.Beat(one)
    # The first step plans what was just declared.
    server.step()
    server.step()
    return list(scheduled.exclude(pk__in=before).order_by("pk"))


@contextmanager
def _worker(alias: str) -> Iterator[tuple[Any, UUID]]:
    connection: Any = Borrowed(alias)
    worker_id = ids.uuid7()
    presence.register(connection, worker_id, Options(name="tests", processes=1), [])
    try:
        yield connection, worker_id
    finally:
        presence.leave(connection, worker_id)


def _claim_any(connection: Any, worker_id: UUID, only: Sequence[Job[Any]]) -> Claimed | None:
    marks: Iterable[tuple[Lane, Place]]
    if only:
        # From its own place on, each is the first.
        rows = Job.objects.using(conf.settings().database).ready()
        marks = [
            (Lane(row.queue_name, row.priority), Place(row.run_at.timestamp(), str(row.pk)))
            for row in rows.filter(pk__in=[job.pk for job in only]).order_by("-priority", "run_at")
        ]
    else:
        # The best lane first; a claim orders what it takes.
        lanes = sorted(lifecycle.look(connection).first, key=lambda lane: -lane.priority)
        marks = [(lane, START) for lane in lanes]
    found = (_claim(connection, worker_id, lane, place) for lane, place in marks)
    return next((job for job in found if job is not None), None)


def _claim(connection: Any, worker_id: UUID, lane: Lane, place: Place) -> Claimed | None:
    found = lifecycle.claim(
        connection,
        {lane: place},
        1,
        claim_id=ids.uuid7(),
        worker=_NAME,
        worker_id=worker_id,
        runner=ids.uuid7(),
    ).read()
    return found.jobs[0] if found.jobs else None


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
        return async_to_sync(_acall)(task, job, context)
    if job.timeout is None:
        return _execute(task, job, context)
    return _limited(task, job, context)


def _execute(task: Any, job: Claimed, context: Context) -> Outcome:
    if task.atomic:
        return execute_atomic(task, job, context, lifecycle.commit_finish)
    return execute(task, job, context)


def _limited(task: Any, job: Claimed, context: Context) -> Outcome:
    """In a worker's slot, for as long as it takes: that knows how to interrupt it."""
    slot = Slot()
    slot.attach()
    with _heeding(slot):
        slot.enter(job, context)
        late = too_long(job)
        assert job.timeout is not None
        deadline = _watch.arm(job.timeout, lambda: slot.interrupt(job, context, late))
        try:
            try:
                outcome = _execute(task, job, context)
            except (JobTimeout, JobCancelled) as error:
                # It arrived just as the function had ended.
                outcome = judge(error, task, job, context)
            slot.leave()
        except (JobTimeout, JobCancelled) as error:
            slot.leave()
            outcome = ended_late(error)
        finally:
            _watch.disarm(deadline)
    return outcome


@contextmanager
def _heeding(slot: Slot) -> Iterator[None]:
    """The signal that interrupts the main thread's task; other threads need none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(INTERRUPT, slot.on_signal)
    try:
        yield
    finally:
        signal.signal(INTERRUPT, before)


async def _acall(task: Any, job: Claimed, context: Context) -> Outcome:
    if job.timeout is None:
        return await aexecute(task, job, context)
    running = asyncio.ensure_future(aexecute(task, job, context))

    def interrupt() -> None:
        context.interruption = too_long(job)
        running.cancel()

    deadline = asyncio.get_running_loop().call_later(job.timeout, interrupt)
    try:
        return await running
    finally:
        deadline.cancel()


def _record(connection: Any, job: Claimed, outcome: Outcome) -> None:
    lifecycle.record(connection, [Ended(job, outcome)])
    lifecycle.forget_claims(connection, [job.claim])
    tell_outcome(job, outcome)
