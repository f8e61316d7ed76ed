"""Coroutine slots: async functions, many at once, on one event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async

from jobs.execution import Context
from jobs.lifecycle import Claimed, Ended
from jobs.outcomes import Outcome

from .slots import NewContext, Tell, emptied, too_long, untellable

logger = logging.getLogger("jobs")

# Coroutines share so many threads for the ORM, so that connections stay bounded.
ORM_THREADS = 8

ARun = Callable[[Claimed, Context], Coroutine[Any, Any, Outcome]]


class CoroutineSlots:
    """The loop starts with the first job. All methods but the coroutines are the dispatcher's."""

    def __init__(
        self,
        count: int,
        run: ARun,
        new_context: NewContext,
        tidy_thread: Callable[[], None] = lambda: None,
        *,
        reached: Tell = lambda job: None,
        over: Tell = lambda job: None,
    ) -> None:
        self.count = count
        # Handed out, and not begun by the loop.
        self.line: deque[Claimed] = deque()
        self.done: deque[Ended] = deque()
        self.ring: Callable[[], None] | None = None
        self._run = run
        self._new_context = new_context
        self._reached = reached
        self._over = over
        # Called in an ORM thread after each job that may have used it.
        self._tidy_thread = tidy_thread
        self._pid = os.getpid()
        self._running: dict[str, tuple[Claimed, Context, asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Coroutines that have not taken their first step yet.
        self._starting = 0
        # When the loop was called for the first job that it has not begun.
        self._called_at: float | None = None
        # When the loop was asked for a sign of life that it has not given.
        self._asked_at: float | None = None
        self._thread = 0
        self._handed = 0
        self._ended = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: threading.Thread | None = None
        self._is_closed = False
        # One after the other for each: Django's connections belong to their threads.
        self._threads = [ThreadSensitiveContext() for _ in range(ORM_THREADS)]
        self._turns = itertools.cycle(self._threads)

    @property
    def in_hand(self) -> int:
        return self._handed - self._ended

    def add(self, jobs: list[Claimed]) -> None:
        if not jobs:
            return
        loop = self._loop or self._start()
        self._handed += len(jobs)
        self.line.extend(jobs)
        if self._called_at is None:
            self._called_at = time.monotonic()
        loop.call_soon_threadsafe(self._begin)

    def take_back(self) -> list[Claimed]:
        """Empty the line, from its end: what the loop has not begun."""
        taken = emptied(self.line)
        self._handed -= len(taken)
        return taken

    def stood_still(self, now: float) -> float:
        """For how many seconds the loop has been called and has not answered: a coroutine
        that does not give way blocks all."""
        called_at = self._called_at
        return 0.0 if called_at is None else now - called_at

    def silent_for(self, now: float) -> float:
        """For how many seconds the loop has not answered; asks it, so to be called regularly."""
        if self._loop is None:
            return 0.0
        # Read once: the loop may answer at any moment.
        asked_at = self._asked_at
        if asked_at is None:
            self._asked_at = asked_at = now
            self._loop.call_soon_threadsafe(self._answer)
        return now - asked_at

    def _answer(self) -> None:
        self._asked_at = None

    def who_blocks(self) -> Claimed | None:
        """The job in which the loop is, as far as one may say from another thread."""
        if self._loop is None:
            return None
        current = asyncio.current_task(self._loop)
        running = list(self._running.values())
        return next((job for job, _, task in running if task is current), None)

    def running(self) -> list[Claimed]:
        return [job for job, _, _ in list(self._running.values()) if job.started_at]

    def where(self, job: Claimed) -> str:
        """What its coroutine waits for, from the outermost call to the innermost."""
        _, _, running = self._running.get(job.id, (None, None, None))
        frames: list[tuple[FrameType, int]] = []
        step: Any = None if running is None else running.get_coro()
        while (frame := getattr(step, "cr_frame", None)) is not None:
            frames.append((frame, frame.f_lineno))
            step = step.cr_await
        return "".join(traceback.StackSummary.extract(frames).format())

    def stack(self) -> str:
        """Where the loop's thread is."""
        frame = sys._current_frames().get(self._thread)
        return "".join(traceback.format_stack(frame)) if frame is not None else ""

    def interrupt(self, job_id: str, exception: BaseException) -> Claimed | None:
        """Returns the job, if it runs here."""
        job, _, _ = self._running.get(job_id, (None, None, None))
        if job is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._interrupt, job_id, exception)
        return job

    def _start(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.new_event_loop()
        self._server = threading.Thread(target=self._serve, name="coroutines", daemon=True)
        self._server.start()
        return self._loop

    def close(self, close_thread: Callable[[], None]) -> None:
        """End the loop and the ORM threads, once no job runs here any more; `close_thread` is
        called in each of those."""
        loop = self._loop
        if loop is None:
            return

        async def end() -> None:
            executors = SyncToAsync.context_to_thread_executor
            for thread in self._threads:
                if thread in executors:
                    executor = executors.pop(thread)
                    await loop.run_in_executor(executor, close_thread)
                    executor.shutdown()
            self._is_closed = True
            loop.stop()

        asyncio.run_coroutine_threadsafe(end(), loop)
        assert self._server is not None
        self._server.join()
        loop.close()

    def _serve(self) -> None:
        """Run the loop until it is closed, even if a task's own sub-task raises SystemExit
        through it."""
        assert self._loop is not None
        self._thread = threading.get_ident()
        while not self._is_closed:
            try:
                self._loop.run_forever()
                if not self._is_closed:
                    logger.error("a task has stopped the event loop; it goes on")
            except BaseException:
                logger.exception("a task's exception went through the event loop; it goes on")

    def _begin(self) -> None:
        """One coroutine for each job in line, which takes it with its first step: until then,
        however long another coroutine does not give way, it can be taken back."""
        assert self._loop is not None
        while self._starting < len(self.line):
            self._starting += 1
            # A fresh context for each, with its share of the threads for the ORM.
            fresh = contextvars.Context()
            fresh.run(SyncToAsync.thread_sensitive_context.set, next(self._turns))
            starter = self._loop.create_task(self._take_one(), context=fresh)
            # The loop itself keeps only weak references.
            self._tasks.add(starter)
            starter.add_done_callback(self._tasks.discard)

    async def _take_one(self) -> None:
        self._called_at = None
        self._starting -= 1
        try:
            job = self.line.popleft()
        except IndexError:
            return
        running = asyncio.current_task()
        assert self._loop is not None
        assert running is not None
        context = self._new_context(job)
        deadline = None
        if job.timeout is not None:
            late = too_long(job)
            deadline = self._loop.call_later(job.timeout, self._interrupt, job.id, late, context)
        self._running[job.id] = (job, context, running)
        await self._one(job, context, deadline)

    async def _one(
        self, job: Claimed, context: Context, deadline: asyncio.TimerHandle | None
    ) -> None:
        try:
            outcome = await self._run(job, context)
        except BaseException as error:
            # Nothing that a task does may take its outcome away.
            outcome = untellable(error)
        if os.getpid() != self._pid:
            # The task has forked, and this is its child: the loop is its parent's.
            os._exit(0)
        self._running.pop(job.id, None)
        if deadline is not None:
            deadline.cancel()
        self._over(job)
        self.done.append(Ended(job, outcome))
        self._ended += 1
        ring = self.ring
        if ring is not None:
            ring()
        try:
            # Last: the thread may be busy for another job, and the outcome must not wait.
            await self._tidy()
        except Exception:
            logger.exception("the connections of job %s could not be looked after", job.id)

    async def _tidy(self) -> None:
        """Look after the connections of the job's ORM thread, if it ever had one."""
        thread = SyncToAsync.thread_sensitive_context.get(None)
        if thread in SyncToAsync.context_to_thread_executor:
            await sync_to_async(self._tidy_thread)()

    def _interrupt(
        self, job_id: str, exception: BaseException, only: Context | None = None
    ) -> None:
        job, context, running = self._running.get(job_id, (None, None, None))
        if (
            job is None
            or context is None
            or running is None
            or (only is not None and context is not only)
        ):
            return
        if context.interruption is None:
            context.interruption = exception
            # A coroutine that is cancelled before its first step never runs at all, and would
            # say nothing: it looks for an interruption itself when it begins.
            if context.entered:
                running.cancel()
            self._reached(job)
