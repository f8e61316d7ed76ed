"""Thread slots: each runs one plain function at a time.

With one slot the task runs in the process's main thread, where signals work; with more, in
threads. Nothing here talks to the database.
"""

from __future__ import annotations

import contextvars
import ctypes
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue
from types import FrameType
from typing import Protocol

from jobs.errors import JobCancelled, JobTimeout
from jobs.execution import Context, problem_of
from jobs.lifecycle import Claimed, Ended
from jobs.outcomes import TIMEOUT, Cancelled, Failed, Outcome, Problem, Succeeded

from .remains import Handler
from .watch import Watch

logger = logging.getLogger("jobs")

# Interrupts the main thread's task. Few programs use it, and none for its own sake.
INTERRUPT = signal.SIGVTALRM

# What jobs leave behind in the process is swept up at most so often, in seconds.
_SWEEP = 0.001

# (job, context) → outcome; everything about the job but where it runs.
Run = Callable[[Claimed, Context], Outcome]
NewContext = Callable[[Claimed], Context]


# Told of a job: that its interruption is on its way, or that its function has ended.
Tell = Callable[[Claimed], None]


class Tidy(Protocol):
    """Looks after what a job left behind, more closely where something went wrong."""

    def __call__(self, *, thoroughly: bool) -> None: ...


class Slot:
    """One thread and the job that it runs at the moment.

    Interruptions come from other threads, at any moment. The slot's own thread takes no lock:
    an exception that arrives while one is being taken would leave it locked for ever. Instead,
    the order of the steps in `leave` and `interrupt` makes sure that none arrives after
    `leave` has returned.
    """

    def __init__(self) -> None:
        self.context: Context | None = None
        self.job: Claimed | None = None
        # From before a job leaves the line until its outcome stands in `done`, so that no
        # job is ever in neither.
        self.is_busy = False
        # The last job whose outcome stands in `done`.
        self.ended: Claimed | None = None
        self._thread = 0
        # Between those who interrupt: a time limit and a cancellation may come together.
        self._interrupting = threading.Lock()

    def attach(self) -> None:
        """Make the calling thread this slot's."""
        self._thread = threading.get_ident()

    def enter(self, job: Claimed, context: Context) -> None:
        self.context, self.job = context, job

    def leave(self) -> None:
        """After this, no interruption reaches whatever the thread does next."""
        context, self.job = self.context, None
        if context is not None and context.interruption is not None and not self._is_main:
            # Whoever set it has seen the job and is about to send it: take it back.
            while not context.sent:
                time.sleep(0.0001)
            _raise_in(self._thread, None)
        self.context = None

    def interrupt(self, job: Claimed, context: Context, exception: BaseException) -> None:
        """Raise the exception in the job's function, if the slot still runs that job."""
        with self._interrupting:
            if context.interruption is not None:
                return
            context.interruption = exception
        if self.job is job:
            if self._is_main:
                signal.pthread_kill(self._thread, INTERRUPT)
            else:
                _raise_in(self._thread, type(exception))
        context.sent = True

    def stack(self) -> str:
        frame = sys._current_frames().get(self._thread)
        return "".join(traceback.format_stack(frame)) if frame is not None else ""

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """The main thread's handler: by now another job may run, or none."""
        if self.job is not None and self.context is not None and self.context.interruption:
            raise self.context.interruption

    @property
    def _is_main(self) -> bool:
        return self._thread == threading.main_thread().ident


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    argument = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), argument)


class ThreadSlots:
    """The line of claimed jobs and the slots that take from its head.

    The dispatcher adds at the end, and takes back from the end what cannot start soon; both
    are single operations of a deque, so a job is never both started and given back.
    """

    def __init__(
        self,
        count: int,
        run: Run,
        new_context: NewContext,
        watch: Watch,
        *,
        reached: Tell = lambda job: None,
        over: Tell = lambda job: None,
        tidy: Tidy = lambda *, thoroughly: None,
        left: Callable[[], None] = lambda: None,
        sweep: Callable[[], None] | None = None,
        keep_handler: Callable[[signal.Signals, Handler], object] = signal.signal,
    ) -> None:
        self.count = count
        self.line: deque[Claimed] = deque()
        self.done: deque[Ended] = deque()
        self.slots = [Slot() for _ in range(count)]
        # When a job last left the line; a line that stands still is given back.
        self.moved_at = time.monotonic()
        # Rung when the dispatcher sleeps and there is something to do for it.
        self.ring: Callable[[], None] | None = None
        self.ring_below = 0
        self.ring_above = 250
        self._run = run
        self._new_context = new_context
        self._watch = watch
        self._reached = reached
        self._over = over
        # Both where no interruption can reach: after each job, and, since it costs as much as
        # a short job does, before a rest and before a job when it has not been done of late.
        self._tidy = tidy
        # In each slot's own thread, once it runs no job any more.
        self._left = left
        self._sweep = sweep
        # Sets the handler of a signal, which the sweep puts back after a job that replaces it.
        self._keep_handler = keep_handler
        self._swept_at = 0.0
        self._counting = threading.Lock()
        self._pid = os.getpid()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._asleep = 0
        self._closed = False
        self._threads: list[threading.Thread] = []

    @property
    def busy(self) -> int:
        return sum(slot.is_busy for slot in self.slots)

    @property
    def in_hand(self) -> int:
        return len(self.line) + self.busy

    def add(self, jobs: list[Claimed]) -> None:
        if not self.line:
            self.moved_at = time.monotonic()
        self.line.extend(jobs)
        for _ in range(min(self._asleep, len(jobs))):
            self._wake.put(None)

    def take_back(self, keep: int = 0) -> list[Claimed]:
        """Shorten the line to so many, from its end."""
        return emptied(self.line, keep)

    def serve(self) -> None:
        """Run jobs until closed. Called in the main thread."""
        if self.count == 1:
            slot = self.slots[0]
            self._keep_handler(INTERRUPT, slot.on_signal)
            self._work(slot)
            return
        self._threads = [
            threading.Thread(target=self._work, args=(slot,), name=f"slot-{i}", daemon=True)
            for i, slot in enumerate(self.slots, 1)
        ]
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        """Let each slot end after the job that it runs."""
        self._closed = True
        for _ in self.slots:
            self._wake.put(None)

    def running(self) -> list[Claimed]:
        jobs = [slot.job for slot in self.slots]
        return [job for job in jobs if job is not None and job.started_at]

    def where(self, job: Claimed) -> str:
        """The stack of the thread that runs it."""
        return "".join(slot.stack() for slot in self.slots if slot.job is job)

    def interrupt(self, job_id: str, exception: BaseException) -> Claimed | None:
        """Returns the job, if it runs here."""
        for slot in self.slots:
            job, context = slot.job, slot.context
            if job is not None and context is not None and job.id == job_id:
                self._interrupt(slot, job, context, exception)
                return job
        return None

    def _interrupt(
        self, slot: Slot, job: Claimed, context: Context, exception: BaseException
    ) -> None:
        slot.interrupt(job, context, exception)
        self._reached(job)

    def _work(self, slot: Slot) -> None:
        slot.attach()
        failures = 0
        while not self._closed:
            job = None
            try:
                slot.is_busy = True
                if self.line:
                    job = self._next()
                if job is None:
                    if self._sweep is not None:
                        self._sweep()
                    slot.is_busy = False
                    self._rest()
                else:
                    self._one(slot, job)
                failures = 0
            except Exception as error:
                # A signal handler that a task has left behind may raise anywhere.
                failures += 1
                if failures == 1 or failures % 100 == 0:
                    logger.exception("slot of process %s: it goes on", self._pid)
                if job is not None and slot.ended is not job:
                    self._end(slot, job, untellable(error))
                if failures > 1:
                    # Whatever it is, it does not keep the processor busy.
                    time.sleep(min(1.0, 0.01 * failures))
        self._left()

    def _next(self) -> Claimed | None:
        try:
            return self.line.popleft()
        except IndexError:
            return None

    def _rest(self) -> None:
        with self._counting:
            self._asleep += 1
        # A job that was added before this thread counted as asleep woke nobody.
        if not self.line and not self._closed:
            self._wake.get()
        with self._counting:
            self._asleep -= 1

    def _one(self, slot: Slot, job: Claimed) -> None:
        self.moved_at = now = time.monotonic()
        if self._sweep is not None and now - self._swept_at > _SWEEP:
            self._swept_at = now
            self._sweep()
        context = self._new_context(job)
        deadline = None
        try:
            slot.enter(job, context)
            if job.timeout is not None:
                late = too_long(job)
                deadline = self._watch.arm(
                    job.timeout, lambda: self._interrupt(slot, job, context, late)
                )
            # A fresh context: what one task sets is not there for the next.
            outcome = contextvars.Context().run(self._run, job, context)
            slot.leave()
        except (JobTimeout, JobCancelled) as interruption:
            # Raised just as the function had ended.
            slot.leave()
            outcome = ended_late(interruption)
        except BaseException as error:
            # Nothing that a task does may take its slot away, or its outcome.
            slot.leave()
            outcome = untellable(error)
        if os.getpid() != self._pid:
            # The task has forked, and this is its child: the line is its parent's.
            os._exit(0)
        if deadline is not None:
            self._watch.disarm(deadline)
        try:
            self._tidy(thoroughly=type(outcome) is not Succeeded)
        except Exception:
            logger.exception("what job %s left behind could not be looked after", job.id)
        self._end(slot, job, outcome)

    def _end(self, slot: Slot, job: Claimed, outcome: Outcome) -> None:
        self._over(job)
        slot.ended = job
        self.done.append(Ended(job, outcome))
        slot.is_busy = False
        ring = self.ring
        if ring is not None and (
            len(self.line) <= self.ring_below or len(self.done) >= self.ring_above
        ):
            ring()


def emptied(line: deque[Claimed], keep: int = 0) -> list[Claimed]:
    """What stood in the line, taken one by one from its end: each by nobody else, too."""
    taken = []
    while len(line) > keep:
        try:
            taken.append(line.pop())
        except IndexError:
            break
    return taken


def too_long(job: Claimed) -> JobTimeout:
    return JobTimeout(f"{job.task} ran longer than its time limit of {job.timeout:g} s")


def ended_late(exception: BaseException) -> Outcome:
    """The outcome of a job whose interruption arrived behind its function's end."""
    problem = problem_of(exception)
    if isinstance(exception, JobCancelled):
        return Cancelled(problem)
    return Failed(problem, TIMEOUT)


def untellable(error: BaseException) -> Outcome:
    """The outcome of a job whose end could not even be judged: what went wrong instead."""
    try:
        problem = problem_of(error)
    except BaseException:
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        problem = Problem(name, "", "")
    message = f"how this attempt ended could not be judged: {problem.message}".rstrip(": ")
    return Failed(replace(problem, message=message))
