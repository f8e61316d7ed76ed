"""The dispatcher: a runner's one thread that talks with PostgreSQL.

It records what the slots have done and claims what they will do, in one transaction; tells
progress, hears of cancellations, and sleeps when there is nothing to do. `step` is one round;
`run` repeats it until the runner ends. What is written is the recorder's business, what is
claimed the claimer's, and how long to rest without work is Rest's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg

from jobs import conf, lifecycle
from jobs.errors import JobCancelled
from jobs.lifecycle import Claimed, Ended

from . import presence
from .bell import Bell, Call
from .board import CANCELLED, Board
from .claimer import STANDSTILL, Claimer, Wish
from .coroutines import CoroutineSlots
from .demand import Demand
from .options import Identity, Options
from .pulse import Pulse
from .recorder import Recorder
from .recycling import Recycling
from .rest import Rest
from .slots import ThreadSlots
from .stuck import Stuck
from .tally import Tally

logger = logging.getLogger("jobs")
Connection = psycopg.Connection[Any]

# Of a runner whose supervisor died, and whose jobs took too long to end.
EXIT_ORPHANED = 75
# All in seconds. While jobs stand in line, outcomes gather so long for one statement.
_GATHER = 0.005
# So often it asks whether running jobs are to be cancelled.
_ASK = 1.0


class Dispatcher:
    def __init__(
        self,
        options: Options,
        identity: Identity,
        slots: ThreadSlots,
        coroutines: CoroutineSlots,
        board: Board,
        bell: Bell,
        lifeline: int | None,
    ) -> None:
        self._options = options
        self._identity = identity
        self._slots = slots
        self._coroutines = coroutines
        self._board = board
        self._pulse = Pulse(board)
        self._pulse.start()
        self._recycling = Recycling(options.limits)
        self._bell = bell
        self._lifeline = lifeline
        self._settings = conf.settings()
        self._connection: Connection | None = None
        # A lone runner claims over a second one while the first records: one process of the
        # server cannot keep up with it.
        self._second: Connection | None = None
        self._claiming = ThreadPoolExecutor(max_workers=1, thread_name_prefix="claims")
        self.demand = Demand(options.threads)
        tally = Tally(identity.runner)
        self.recorder = Recorder(identity.name, slots, coroutines, board, self.demand, tally)
        self._claimer = Claimer(options, identity, slots, coroutines, self.demand, self.recorder)
        self._rest = Rest(self._settings.poll_interval.total_seconds())
        self._stuck = Stuck(identity.name, slots, coroutines, board, self._settings.stuck_after)
        self._asked_at = self._swept_at = time.monotonic()
        # When jobs came or were recorded last.
        self._moved_at = 0.0
        # When an orphaned runner ends, finished or not.
        self._end_by: float | None = None
        self._is_stopping = False
        # While it slept, somebody has enqueued a job.
        self._is_rung = False
        # It ends to let a new runner take its place.
        self.is_recycled = False
        self.finished = False

    # The loop.

    def run(self) -> None:
        """Step until the runner is told to stop and everything is recorded."""
        failures = 0
        while not self.finished:
            try:
                self.connect()
                wait = self.step()
                if failures:
                    logger.warning("runner %s goes on", self._identity.name)
                failures = 0
            except (psycopg.Error, ValueError, TypeError, OverflowError) as error:
                failures += 1
                wait = self.mend(error, failures)
            if not self.finished:
                self._sleep(wait, patiently=failures > 0)
            if self._end_by is not None and time.monotonic() > self._end_by:
                # Nobody is left to kill this process, and others will take its jobs.
                os._exit(EXIT_ORPHANED)
        self.leave()

    def step(self) -> float:
        """Record, claim, hand out; returns for how many seconds there is nothing to do."""
        connection = self._connected()
        self._board.expect(0.0)
        now = time.monotonic()
        self._house_keep(connection, now)
        self._see_to_refusals(connection)
        gives_back, self.recorder.has_released = self.recorder.has_released, False
        wishes: list[Wish] = []
        if not (self._is_stopping or gives_back):
            wishes = self._claimer.wishes(
                connection, now, look=self._rest.has_begun, rung=self._is_rung
            )
        # Nothing may fail between this and the `try`: what is gathered is nowhere else.
        batch = self.recorder.gather(now)
        got = 0
        if batch or wishes or self.recorder.has_ended_claims:
            moved = bool(batch)
            self._board.expect(0.0)
            try:
                # Before, and apart: what is refused of a log must cost no outcome.
                self.recorder.logs.end(connection, batch)
                began = time.monotonic()
                got = self._exchange(connection, batch, wishes)
                if wishes:
                    self._board.claimed_in(time.monotonic() - began)
            except Exception as error:
                # The claims may have committed all the same: look for them at once.
                self._swept_at = 0.0
                if not lifecycle.is_refused(error, connection):
                    # What was booked before the error is not in it any more.
                    self.recorder.put_back(batch)
                    raise
                return self._part(connection, batch, wishes, error)
            if moved or got:
                self._moved_at = time.monotonic()
            self._hold(self._in_line)
        if gives_back:
            self._claimer.look_again()
            return 0.0
        is_rung, self._is_rung = self._is_rung, False
        if is_rung and wishes and not got:
            # It is in another lane, or somebody else has it: look.
            return 0.0
        return self._next_wait(now, got, bool(wishes))

    def _see_to_refusals(self, connection: Connection) -> None:
        if self.recorder.wants_apart:
            self.recorder.write_apart(connection)
        if self._claimer.accepted_now:
            self._claimer.forget_refusals(connection)

    def _part(
        self, connection: Connection, batch: list[Ended], wishes: list[Wish], error: Exception
    ) -> float:
        """After a refusal: what was sent together is sent apart from now on. Returns for how many
        seconds to rest."""
        if batch or self.recorder.has_ended_claims:
            self.recorder.suspect(batch)
        elif wishes:
            return self._claimer.refused(connection, wishes, error)
        return 0.0

    def _exchange(self, connection: Connection, batch: list[Ended], wishes: list[Wish]) -> int:
        """Record and claim, in one pipeline and one commit; returns how many jobs came."""
        # Said before: the first that comes may hold the interpreter as soon as it has it.
        self._hold(self._in_line + sum(limit for _, limit in wishes))
        revoked = self._board.revoked
        if batch and wishes and self._second is not None:
            return self._exchange_at_once(connection, self._second, batch, wishes, revoked)
        if not batch and not self.recorder.has_ended_claims:
            return self._hand_out(self._claimer.claim_all(connection, wishes), revoked)
        with connection.pipeline():
            sent = self.recorder.send(connection, batch)
            replies = [self._claimer.claim(connection, wish) for wish in wishes]
        self.recorder.book(connection, batch, sent)
        return self._hand_out([reply.read() for reply in replies], revoked)

    def _exchange_at_once(
        self,
        connection: Connection,
        second: Connection,
        batch: list[Ended],
        wishes: list[Wish],
        revoked: int,
    ) -> int:
        """The same over two connections, so that two of the server's processes work."""
        claiming = self._claiming.submit(self._claimer.claim_all, second, wishes)
        try:
            with connection.pipeline():
                sent = self.recorder.send(connection, batch)
            self.recorder.book(connection, batch, sent)
        except BaseException:
            # What was claimed is this runner's to run all the same.
            with contextlib.suppress(psycopg.Error):
                self._hand_out(claiming.result(), revoked)
            raise
        try:
            brought = claiming.result()
        except Exception as error:
            if not lifecycle.is_refused(error, second):
                raise
            # The batch is booked: this is about the claims alone.
            self._claimer.refused(connection, wishes, error)
            return 0
        return self._hand_out(brought, revoked)

    def _hand_out(self, claims: list[lifecycle.Brought], revoked: int) -> int:
        self._board.expect(0.0)
        for brought in claims:
            self._claimer.hand_out(brought, revoked)
        return sum(len(brought.jobs) for brought in claims)

    def _hold(self, waiting: int) -> None:
        self._board.hold(self._in_hand, waiting)
        self._pulse.need(waiting > 0)

    # Between two rounds.

    def _next_wait(self, now: float, got: int, asked: bool) -> float:
        """How long to sleep after a round that brought `got` jobs."""
        if got:
            self._rest.end()
            self._say_idle(False)
        if self._is_stopping:
            return self._wait_stopping()
        if self.recorder.has_fresh:
            # Not while a slot is free, or about to take the last of the line.
            return _GATHER if self._slots.in_hand > self._slots.count else 0.0
        if got and self._claimer.has_room:
            return 0.0
        if got or not self._claimer.has_room:
            return STANDSTILL if self._slots.line or self._coroutines.line else _ASK
        if not self._rest.has_begun:
            self._rest.begin(now)
            if asked:
                # The lanes were old: look before resting.
                return 0.0
        return self._wait_empty(now)

    def _wait_empty(self, now: float) -> float:
        """Nothing is due."""
        if self._options.burst and not self.has_work:
            # What ended last may have enqueued another.
            sure = self._claimer.looked_since(max(self._rest.since, self._moved_at))
            is_due = self._claimer.sees_due(self._connected(), time.monotonic())
            self.finished = sure and not (self.recorder.has_ended_claims or is_due)
            # What is due and cannot be had is held by somebody.
            return self._rest.next_pause()
        if self._rest.wants_to_sleep(now):
            self._say_idle(True)
            self._rest.fall_asleep()
            return 0.0
        pause = self._rest.next_pause()
        next_due = self._claimer.next_due_in(now)
        return pause if next_due is None else min(pause, max(0.001, next_due))

    def _wait_stopping(self) -> float:
        if not self._in_hand and not self.recorder.to_record:
            # What PostgreSQL refuses has been tried once more (see `stop`), and is not waited for.
            self.finished = not (self.recorder.has_ended_claims or self.recorder.wants_apart)
            return 0.0
        return 0.0 if self.recorder.has_fresh else 0.2

    @property
    def has_work(self) -> bool:
        # In this order: what leaves the slots stands in `done` before they let go of it.
        return bool(self._in_hand or self.recorder.backlog)

    @property
    def _in_hand(self) -> int:
        return self._slots.in_hand + self._coroutines.in_hand

    @property
    def _in_line(self) -> int:
        return len(self._slots.line) + len(self._coroutines.line)

    def _say_idle(self, idle: bool) -> None:
        if idle != self._rest.is_asleep and self._settings.listen:
            presence.say_idle(self._connected(), self._identity, idle=idle)
        self._rest.is_asleep = idle

    def _sleep(self, seconds: float, *, patiently: bool = False) -> None:
        """Until something rings, at most so long; `patiently`: whatever the slots have done
        has to wait, since it cannot be written."""
        if seconds > 0 and not patiently:
            self._slots.ring_below = self.demand.prefetch // 2
            self._slots.ring = self._coroutines.ring = self._ring
            # Whatever ended before the bell was set has rung nobody.
            if (self._slots.done and not self._slots.line) or self._coroutines.done:
                seconds = 0.0
        if self._end_by is not None:
            seconds = min(seconds, 0.5)
        self._board.expect(seconds)
        calls, orphaned = self._bell.wait(seconds, self._lifeline)
        self._slots.ring = self._coroutines.ring = None
        if Call.WAKE in calls and self._rest.is_asleep:
            self._rest.wake()
            self._is_rung = True
        if orphaned:
            # Nobody says any more that this runner lives: end before others take its jobs.
            self._lifeline = None
            self._end_by = time.monotonic() + self._settings.heartbeat_timeout.total_seconds() / 3
        if Call.STOP in calls or orphaned:
            self.stop()

    def _ring(self) -> None:
        # Once for each sleep.
        self._slots.ring = self._coroutines.ring = None
        self._bell.ring()

    def is_stopping(self) -> bool:
        """Whether the runner claims no more. Asked by running tasks."""
        return self._is_stopping

    def stop(self) -> None:
        """Claim nothing more, and give back what has not started."""
        self._is_stopping = True
        self.recorder.retry_now()
        self.recorder.release(self._slots.take_back() + self._coroutines.take_back())

    # Now and then.

    def _house_keep(self, connection: Connection, now: float) -> None:
        if not self._is_stopping and (why := self._recycling.why(self.recorder.ran, now)):
            logger.info("runner %s ends %s, and a new one begins", self._identity.name, why)
            self.is_recycled = True
            self.stop()
        self._shorten_line(now)
        if self._coroutines.line and self._coroutines.stood_still(now) > STANDSTILL:
            self.recorder.release(self._coroutines.take_back())
        self.recorder.write_progress(connection, now)
        if self.recorder.tally.is_due(now):
            self._write_tally(connection, now)
        claims = self.recorder.open_claims
        if claims and now - self._asked_at > _ASK:
            self._asked_at = now
            for job_id in lifecycle.cancel_requests(connection, claims):
                self._cancel(job_id)
            self._stuck.look(now)
        if now - self._swept_at > self._settings.heartbeat_interval.total_seconds():
            self._swept_at = now
            self.sweep()
        self._hold(self._in_line)

    def _write_tally(self, connection: Connection, now: float) -> None:
        """What somebody holds, or the server refuses, costs some counts and nothing else."""
        self._board.expect(0.0)
        try:
            self.recorder.tally.write(connection, now)
        except psycopg.Error as error:
            if lifecycle.is_gone(error, connection):
                raise
            name, what = self._identity.name, lifecycle.describe(error)
            logger.warning("runner %s: statistics: %s", name, what)

    def _shorten_line(self, now: float) -> None:
        """Give back what has stood for too long behind others: somebody else may be idle."""
        if not self._slots.line:
            return
        if now - self._slots.moved_at > STANDSTILL:
            self.demand.stood_still(now - self._slots.moved_at)
            self.recorder.release(self._slots.take_back())
            return
        try:
            waited = now - self._slots.line[0].handed_at
        except IndexError:
            return
        if waited > STANDSTILL:
            # It moves, but its jobs are longer than those by which it was measured.
            self.recorder.release(self._slots.take_back(self.demand.prefetch))

    def _cancel(self, job_id: str) -> None:
        self.recorder.cancelled.add(job_id)
        exception = JobCancelled("the job was cancelled while it ran")
        for slots in (self._slots, self._coroutines):
            job = slots.interrupt(job_id, exception)
            if job is not None:
                self._end_soon(job)

    def _end_soon(self, job: Claimed) -> None:
        """It was interrupted, and is killed unless it ends. (As Runner._over: said first.)"""
        # Read once: it is 0 before it has started.
        place = job.place
        if place:
            end_by = time.monotonic() + self._settings.interrupt_grace.total_seconds()
            self._board.limit(place, end_by, job.started_at, CANCELLED)
            if job.is_over:
                self._board.over(place)

    def is_cancelled(self, job: Claimed) -> bool:
        """Whether a job that stood in line is not to start any more. Asked by the slots."""
        return job.id in self.recorder.cancelled

    def sweep(self) -> None:
        """Give back claims in this runner's name whose replies were lost."""
        connection = self._connected()
        self._board.expect(0.0)
        known = self.recorder.known_claims
        for claim in lifecycle.strays(connection, self._identity.runner, known):
            give_back = partial(
                lifecycle.give_back, connection, claim,
                charged=False, started=(), note="the claim's reply was lost",
            )  # fmt: skip
            try:
                give_back()
            except Exception as error:
                if not lifecycle.is_refused(error, connection):
                    raise
                by = self._identity.name
                lifecycle.give_back_apart(connection, claim, give_back, by=by)

    # The connection.

    def connect(self) -> None:
        """If there is none: a new one, and a look for what the last may have left behind."""
        self._board.expect(0.0)
        if self._connection is None:
            if self._options.processes == 1 and self._second is None:
                # It does without, where the server has no room for another.
                with contextlib.suppress(psycopg.OperationalError):
                    self._second = lifecycle.connect(f"jobs claims {self._identity.name}")
            self._connection = lifecycle.connect(f"jobs runner {self._identity.name}")
            self.sweep()

    def _connected(self) -> Connection:
        assert self._connection is not None
        return self._connection

    def mend(self, error: Exception, failures: int) -> float:
        """After an error: a new connection where it is needed, ever more patiently."""
        if failures == 1 or failures % 20 == 0:
            is_database = isinstance(error, psycopg.Error)
            text = lifecycle.describe(error)
            logger.warning("runner %s: %s", self._identity.name, text, exc_info=not is_database)
        gone = lifecycle.is_gone(error, self._connection)
        if gone or any(one.closed for one in self._connections):
            self._disconnect()
        return lifecycle.pause_after(failures)

    def leave(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self.recorder.tally.write(self._connection, time.monotonic())
            # Its name among the sleepers goes with the next heartbeat otherwise.
            with contextlib.suppress(psycopg.Error):
                self._say_idle(False)
        self._disconnect()
        self._claiming.shutdown()

    @property
    def _connections(self) -> list[Connection]:
        return [one for one in (self._connection, self._second) if one is not None]

    def _disconnect(self) -> None:
        for one in self._connections:
            one.close()
        self._connection = self._second = None
