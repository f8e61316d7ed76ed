"""The runner: a process that runs jobs. Forked by the supervisor, it does not outlive it long."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from dataclasses import replace
from types import FrameType
from typing import Any

import psycopg
from django.conf import settings as django_settings
from django.db import connections, reset_queries
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from jobs import lifecycle
from jobs.errors import JobCancelled, JobExpired, JobTimeout, TaskNotFound
from jobs.execution import Context, aexecute, execute, execute_atomic, judge, problem_of
from jobs.lifecycle import Claimed
from jobs.outcomes import EXPIRED, Cancelled, Failed, Outcome
from jobs.tasks import Task, resolve

from .bell import Bell, Call
from .board import Board
from .coroutines import CoroutineSlots
from .dispatcher import Dispatcher
from .options import Identity, Options
from .slots import ThreadSlots
from .watch import Watch

logger = logging.getLogger("jobs")

_stop_alarm = signal.setitimer
# After so many jobs it is seen whether one has taken the handler of SIGTERM.
_ASK_AFTER = 64

# The dispatcher broke: a mistake of ours, which a new process may survive.
EXIT_BROKEN = 70


class Runner:
    """Introduces the slots to the dispatcher: what one claims the others run."""

    def __init__(
        self,
        options: Options,
        identity: Identity,
        board: Board,
        bell: Bell,
        lifeline: int | None = None,
    ) -> None:
        self._board = board
        self._bell = bell
        self._tasks: dict[str, Task[..., Any]] = {}
        self._ran = 0
        tidy = self._tidy_process if options.threads == 1 else tidy_connections
        self.slots = ThreadSlots(options.threads, self._run, self._new_context, Watch(), tidy)
        self.coroutines = CoroutineSlots(
            options.coroutines, self._arun, self._new_context, tidy_connections
        )
        self.dispatcher = Dispatcher(
            options, identity, self.slots, self.coroutines, board, bell, lifeline
        )

    def run(self) -> None:
        """Run jobs until told to stop; the calling thread is the first slot."""
        self._take_signals()
        # A process that a task forks stops as any other: it must not stop this one instead.
        os.register_at_fork(after_in_child=_die_as_others_do)
        thread = threading.Thread(target=self._dispatch, name="dispatcher", daemon=True)
        thread.start()
        self.slots.serve()
        thread.join()

    def _take_signals(self) -> None:
        signal.signal(signal.SIGTERM, self._on_term)
        # Ctrl-C goes to every process of the terminal; the supervisor decides what it means.
        signal.signal(signal.SIGINT, _nothing)
        self._term = signal.getsignal(signal.SIGTERM)

    def _tidy_process(self) -> None:
        """After each job in the main thread: an alarm that it may have left behind."""
        tidy_connections()
        _stop_alarm(signal.ITIMER_REAL, 0)
        self._ran += 1
        # Asking for a handler costs more than a short job does.
        if self._ran % _ASK_AFTER == 0 and signal.getsignal(signal.SIGTERM) is not self._term:
            self._take_signals()

    def _dispatch(self) -> None:
        try:
            self.dispatcher.run()
        except BaseException:
            logger.exception("the dispatcher broke; this runner ends, and its jobs are given back")
            os._exit(EXIT_BROKEN)
        self.slots.close()

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        self._bell.ring(Call.STOP)

    def _new_context(self, job: Claimed) -> Context:
        return Context(job, self.dispatcher.recorder.tell)

    def _run(self, job: Claimed, context: Context) -> Outcome:
        task = self._begin(job, context)
        if not isinstance(task, Task):
            return task
        try:
            if task.atomic:
                outcome = execute_atomic(task, job, context, lifecycle.commit_finish)
            else:
                outcome = execute(task, job, context)
        except (JobTimeout, JobCancelled) as late:
            # It arrived just as the function had ended.
            outcome = judge(late, task, job, context)
        job.finished_at = job.now()
        return outcome

    async def _arun(self, job: Claimed, context: Context) -> Outcome:
        task = self._begin(job, context)
        if not isinstance(task, Task):
            return task
        outcome = await aexecute(task, job, context)
        job.finished_at = job.now()
        return outcome

    def _begin(self, job: Claimed, context: Context) -> Task[..., Any] | Outcome:
        """The task to run; or the outcome of a job that is not to start."""
        context.enter()
        job.started_at = job.finished_at = job.now()
        if job.expires_at is not None and job.expires_at <= job.started_at:
            late = job.started_at - job.expires_at
            return Cancelled(
                problem_of(JobExpired(f"not started in time: {late:.1f} s late")), EXPIRED
            )
        if self.dispatcher.is_cancelled(job):
            return Cancelled(problem_of(JobCancelled("cancelled before it started")))
        self._board.start(job.id, job.claim)
        task = self._tasks.get(job.task)
        if task is None:
            try:
                task = self._tasks[job.task] = resolve(job.task)
            except (JobTimeout, JobCancelled):
                raise
            except TaskNotFound as error:
                told = f"{error}; if it is new, restart this worker"
                return Failed(replace(problem_of(error), message=told))
            except BaseException as error:
                # Importing its module may raise anything, SystemExit too.
                return Failed(problem_of(error))
        return task


def _nothing(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN, which processes that a task starts would inherit."""


def _die_as_others_do() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def tidy_connections() -> None:
    """What Django does after each request, without a query: close what is broken or too old."""
    for connection in connections.all(initialized_only=True):
        # Asking a wrapper for more than this would open a connection.
        if connection.connection is None:
            continue
        try:
            if _is_left_open(connection):
                _throw_away(connection)
            else:
                connection.close_if_unusable_or_obsolete()
        except Exception:
            logger.exception("connection %s could not be looked after", connection.alias)
            del connections[connection.alias]
    if django_settings.DEBUG:
        reset_queries()


def _is_left_open(connection: BaseDatabaseWrapper) -> bool:
    """In a transaction that belongs to nobody any more, or in the middle of a query that an
    interruption has left."""
    if connection.in_atomic_block or not connection.autocommit:
        return True
    raw = connection.connection
    return isinstance(raw, psycopg.Connection) and (
        raw.closed or raw.info.transaction_status != TransactionStatus.IDLE
    )


def _throw_away(connection: BaseDatabaseWrapper) -> None:
    """End the session and forget the wrapper, which remembers a broken block for ever."""
    raw = connection.connection
    if isinstance(raw, psycopg.Connection):
        if raw.info.transaction_status == TransactionStatus.ACTIVE:
            raw.cancel()
        raw.close()
    del connections[connection.alias]


def forget_connections(own: list[psycopg.Connection[Any]]) -> None:
    """In a forked child: let go of the parent's connections without ending its sessions."""
    for connection in connections.all(initialized_only=True):
        connection.connection = None
    for one in own:
        os.close(one.fileno())


def main(options: Options, identity: Identity, board: Board, bell: Bell, lifeline: int) -> None:
    """The whole life of a runner process, after the fork."""
    gc.freeze()
    Runner(options, identity, board, bell, lifeline).run()
    board.leave()
