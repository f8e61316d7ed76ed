"""The runner: a process that runs jobs. Forked by the supervisor, it does not outlive it long."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from types import FrameType
from typing import Any

from jobs import conf, lifecycle, signals
from jobs.errors import JobCancelled, JobExpired, JobTimeout, TaskNotFound
from jobs.execution import (
    Context,
    aexecute,
    after_a_kill,
    execute,
    execute_atomic,
    judge,
    keep_logs,
    problem_of,
)
from jobs.lifecycle import Claimed
from jobs.outcomes import EXPIRED, Cancelled, Failed, Outcome, Released, TakenOver
from jobs.tasks import Task, resolve

from . import connections, stacks
from .bell import Bell, Call
from .board import FAILED, Board
from .coroutines import CoroutineSlots
from .dispatcher import Dispatcher
from .options import Identity, Options
from .remains import IGNORED, Remains
from .slots import ThreadSlots
from .strangers import Strangers
from .titles import title
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
        self._name = identity.name
        self._board = board
        self._bell = bell
        self._tasks: dict[str, Task[..., Any]] = {}
        self._remains = Remains()
        self._grace = conf.settings().interrupt_grace.total_seconds()
        self._strangers = Strangers(conf.settings().unknown_task_patience.total_seconds())
        connections.remember()
        self.slots = ThreadSlots(
            options.threads,
            self._run,
            self._new_context,
            Watch(),
            reached=self._reached,
            over=self._over,
            tidy=connections.tidy,
            left=connections.close_own,
            sweep=self._remains.sweep if options.threads == 1 else None,
            keep_handler=self._remains.keep,
        )
        self.coroutines = CoroutineSlots(
            options.coroutines,
            self._arun,
            self._new_context,
            connections.tidy,
            reached=self._reached,
            over=self._over,
        )
        self.dispatcher = Dispatcher(
            options, identity, self.slots, self.coroutines, board, bell, lifeline
        )
        self._tell = self.dispatcher.recorder.tell
        self._keeper = self.dispatcher.recorder.logs.of

    def run(self) -> None:
        """Run jobs until told to stop; the calling thread is the first slot."""
        self._remains.take_signals(self._on_term)
        # A process that a task forks stops as any other: it must not stop this one instead.
        os.register_at_fork(after_in_child=_die_as_others_do)
        thread = threading.Thread(target=self._dispatch, name="dispatcher", daemon=True)
        thread.start()
        signals.tell(signals.runner_started, type(self), runner=self._name)
        self.slots.serve()
        thread.join()
        signals.tell(signals.runner_stopping, type(self), runner=self._name)

    def close(self) -> None:
        """Let the slots' threads end, and their connections: where the process goes on."""
        self.slots.close()
        self.coroutines.close(connections.close_own)

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
        return Context(
            job, self._tell, self._name, self._keeper, is_stopping=self.dispatcher.is_stopping
        )

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

    def _over(self, job: Claimed) -> None:
        """Its function has ended. Said first and done then, as by whoever limits it: at least
        one of the two sees the other, and the limit is lifted."""
        job.is_over = True
        if job.place:
            self._board.over(job.place)

    def _reached(self, job: Claimed) -> None:
        """Its interruption is on its way to it: if it goes on, it is to blame."""
        if job.place:
            self._board.reached(job.place)

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
        if job.timeout is not None:
            # Importing its module counts, too.
            self._limit(task, job, job.timeout)
        if task is None:
            try:
                task = self._tasks[job.task] = resolve(job.task)
            except (JobTimeout, JobCancelled):
                raise
            except TaskNotFound as error:
                return self._unknown(job, error)
            except BaseException as error:
                # Importing its module may raise anything, SystemExit too.
                return Failed(problem_of(error))
            if job.timeout is not None:
                self._limit(task, job, job.timeout)
        return task

    def _limit(self, task: Task[..., Any] | None, job: Claimed, timeout: float) -> None:
        """Say by when the job has to have ended, and what becomes of it if it has not: whoever
        kills this process for it knows no task."""
        delay = None if task is None else after_a_kill(task, job)
        verdict = FAILED if delay is None else delay.total_seconds()
        end_by = time.monotonic() + timeout + self._grace
        self._board.limit(job.place, end_by, job.started_at, verdict)

    def _unknown(self, job: Claimed, error: TaskNotFound) -> Outcome:
        """A worker of newer code may know it."""
        now = time.monotonic()
        delay = self._strangers.leave(job.id, job.task, now)
        if delay is None:
            told = f"{error}; if it is new, restart this worker"
            return Failed(replace(problem_of(error), message=told))
        if self._strangers.is_to_be_told(job.task, now):
            logger.warning(
                "%s; its jobs are left for other workers for %s. If the task is new, restart "
                "this one (job %s)",
                error,
                conf.settings().unknown_task_patience,
                job.id,
            )
        # No attempt's: it never started.
        job.started_at = job.finished_at = 0.0
        return Released(timedelta(seconds=delay))


def _die_as_others_do() -> None:
    for number in IGNORED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def main(
    options: Options,
    identity: Identity,
    board: Board,
    bell: Bell,
    lifeline: int,
    stacks_file: int,
) -> None:
    """The whole life of a runner process, after the fork."""
    stacks.show_on_demand(stacks_file)
    title(f"jobs: runner {identity.name}")
    # A line that a task prints is seen when it is printed.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    keep_logs()
    gc.freeze()
    made = Runner(options, identity, board, bell, lifeline)
    made.run()
    board.leave(recycled=made.dispatcher.is_recycled)
