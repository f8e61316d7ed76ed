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

from jobs import lifecycle
from jobs.errors import JobCancelled, JobExpired, JobTimeout, TaskNotFound
from jobs.execution import Context, aexecute, execute, execute_atomic, judge, problem_of
from jobs.lifecycle import Claimed
from jobs.outcomes import EXPIRED, Cancelled, Failed, Outcome, TakenOver
from jobs.tasks import Task, resolve

from . import connections
from .bell import Bell, Call
from .board import Board
from .coroutines import CoroutineSlots
from .dispatcher import Dispatcher
from .options import Identity, Options
from .slots import ThreadSlots
from .watch import Watch

logger = logging.getLogger("jobs")

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
        connections.remember()
        self.slots = ThreadSlots(
            options.threads,
            self._run,
            self._new_context,
            Watch(),
            tidy=connections.tidy,
            sweep=self._sweep if options.threads == 1 else None,
        )
        self.coroutines = CoroutineSlots(
            options.coroutines, self._arun, self._new_context, connections.tidy
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

    def _sweep(self) -> None:
        """What a job may have left behind in the main thread: an alarm, a handler."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        if signal.getsignal(signal.SIGTERM) is not self._term:
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
        # Said first and asked then: either this sees that the supervisor gives it back, or the
        # supervisor sees that it is started.
        job.place = self._board.start(job.id, job.claim)
        if job.revoked != self._board.revoked:
            # It never started, is charged with nothing, and its times are no attempt's.
            self._board.end(job.place)
            job.place = 0
            job.started_at = job.finished_at = 0.0
            return TakenOver()
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


def main(options: Options, identity: Identity, board: Board, bell: Bell, lifeline: int) -> None:
    """The whole life of a runner process, after the fork."""
    gc.freeze()
    Runner(options, identity, board, bell, lifeline).run()
    board.leave()
