"""The dispatcher: a runner's one thread that talks with PostgreSQL.

It records what the slots have done and claims what they will do, in one transaction; tells
progress, hears of cancellations, and sleeps when there is nothing to do. `step` is one round;
`run` repeats it until the runner ends.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import psycopg

from jobs import conf, ids, lifecycle
from jobs.errors import JobCancelled
from jobs.lifecycle import Claimed, Ended, Lane
from jobs.outcomes import (
    Cancelled,
    Committed,
    Failed,
    Outcome,
    Released,
    Retried,
    Snoozed,
    Succeeded,
    TakenOver,
)
from jobs.tasks import resolve

from . import presence
from .bell import Bell, Call
from .board import Board
from .coroutines import CoroutineSlots
from .demand import MOST_CLAIMED, Demand
from .options import Identity, Options
from .slots import ThreadSlots

logger = logging.getLogger("jobs")

# Of a runner whose supervisor died, and whose jobs took too long to end.
EXIT_ORPHANED = 75
# Beyond this, claiming stops until recording has caught up.
MOST_UNRECORDED = 10_000
# While jobs stand in line, outcomes gather this long, in seconds, for one statement.
_GATHER = 0.005
# A line that stands still for so long is given back: another worker may be idle.
_STANDSTILL = 0.1
# After the last job, so long with quick looks before it says that it sleeps.
_LINGER = 0.1
# A full look costs at most a twentieth of the time, and is at most this old, in seconds.
_LOOK_AGAIN = 0.1
_LOOK_SHARE = 20
_NAMES = {
    Succeeded: "succeeded",
    Failed: "failed",
    Retried: "retried",
    Cancelled: "cancelled",
    Snoozed: "snoozed",
    Released: "released",
    TakenOver: "taken_over",
}


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
        self._bell = bell
        self._lifeline = lifeline
        self._settings = conf.settings()
        self._connection: psycopg.Connection[Any] | None = None
        self._demand = Demand(options.threads)
        # Jobs of each known claim that are not recorded yet.
        self._open: Counter[str] = Counter()
        self._ended_claims: list[str] = []
        # Locked by somebody when they were to be recorded.
        self._later: list[Ended] = []
        self._later_at = 0.0
        self._told: dict[str, lifecycle.Told] = {}
        self._told_at = 0.0
        self._lanes: dict[Lane, float] = {}
        self._queues_noted: set[str] = set()
        self._looked_at = 0.0
        self._look_took = 0.0
        self._cancelled: set[str] = set()
        self._asked_at = self._swept_at = time.monotonic()
        self._empty_since: float | None = None
        self._pause = 0.0
        self._is_idle = False
        self._stop_by: float | None = None
        self.stopping = False
        self.finished = False
        slots.ring = coroutines.ring = None

    # What other threads call.

    def tell(self, job: Claimed, done: float, total: float | None, message: str) -> None:
        """Keep a task's progress until the next write."""
        self._told[job.id] = lifecycle.Told(job, done, total, message)

    def is_cancelled(self, job: Claimed) -> bool:
        """Whether a job that stood in line is not to start any more."""
        return job.id in self._cancelled

    # The loop.

    def run(self) -> None:
        """Step until the runner is told to stop and everything is recorded."""
        failures = 0
        while not self.finished:
            try:
                if self._connection is None:
                    self._connect()
                wait = self.step()
                failures = 0
            except (psycopg.Error, ValueError, TypeError, OverflowError) as error:
                failures += 1
                wait = self._mend(error, failures)
            if not self.finished:
                self._sleep(wait)
        self._leave()

    def step(self) -> float:
        """Record, claim, hand out; returns for how many seconds there is nothing to do."""
        assert self._connection is not None
        now = time.monotonic()
        self._house_keep(now)
        wanted = self._wanted(now) if not self.stopping else []
        # Nothing may fail between this and the `try`: what is gathered is nowhere else.
        batch = self._gather(now)
        replies: list[lifecycle.Reply] = []
        if batch or wanted or self._ended_claims:
            try:
                replies = self._exchange(batch, wanted)
            except Exception as error:
                self._put_back(batch)
                if not (batch and lifecycle.is_refused(error)):
                    raise
                self._record_apart()
                return 0.0
        got = sum(self._hand_out(reply.jobs()) for reply in replies)
        return self._rest(now, got, bool(wanted))

    def _exchange(
        self, batch: list[Ended], wanted: list[tuple[list[Lane], int]]
    ) -> list[lifecycle.Reply]:
        """Record and claim in one pipeline and one commit, and book what was recorded."""
        assert self._connection is not None
        sent = None
        with self._connection.pipeline():
            self._write_progress_of(batch)
            if batch:
                sent = lifecycle.record(self._connection, batch)
            if self._ended_claims:
                lifecycle.forget_claims(self._connection, self._ended_claims)
            replies = [self._claim(lanes, limit) for lanes, limit in wanted]
        self._ended_claims = []
        if sent is not None:
            self._account(batch, sent.recorded())
        return replies

    # Recording.

    def _gather(self, now: float) -> list[Ended]:
        """The next batch: outcomes that have waited long enough, or are enough."""
        batch = []
        if self._later and now >= self._later_at:
            batch, self._later = self._later[:MOST_CLAIMED], self._later[MOST_CLAIMED:]
        for done in (self._slots.done, self._coroutines.done):
            while done and len(batch) < MOST_CLAIMED:
                batch.append(done.popleft())
        return batch

    def _write_progress_of(self, batch: list[Ended]) -> None:
        """What ending jobs told last is written before they end."""
        if self._told:
            told = [self._told.pop(ended.job.id, None) for ended in batch]
            if any(told):
                assert self._connection is not None
                lifecycle.write_progress(self._connection, [one for one in told if one])

    def _put_back(self, batch: list[Ended]) -> None:
        self._later = batch + self._later
        self._later_at = 0.0

    def _account(self, batch: list[Ended], recorded: set[str]) -> None:
        """Book what was written; sort the rest into locked by somebody and lost.

        Reading back comes first: should it fail, nothing is booked, and the batch is whole.
        """
        missing = [
            ended
            for ended in batch
            if ended.job.id not in recorded and type(ended.outcome) is not Committed
        ]
        taken_over: set[str] = set()
        later: set[str] = set()
        if missing:
            assert self._connection is not None
            found = lifecycle.unrecorded(self._connection, missing)
            later = {ended.job.id for ended in found.later}
            taken_over = {ended.job.id for ended in found.lost}
            # Taken over, it thought, and it is not: its work was rolled back, so again.
            self._later.extend(
                Ended(ended.job, Released()) if type(ended.outcome) is TakenOver else ended
                for ended in found.later
            )
            self._later_at = time.monotonic() + 0.5
        counts: Counter[str] = Counter()
        seconds, ran = 0.0, 0
        for ended in batch:
            job = ended.job
            if job.id in later:
                continue
            self._close_claim(job.claim)
            self._board.end(job.id, job.claim)
            self._cancelled.discard(job.id)
            if job.id in taken_over:
                counts["taken_over"] += 1
                _tell_taken_over(job)
                continue
            counts[_NAMES.get(type(ended.outcome), "succeeded")] += 1
            if type(ended.outcome) is not Succeeded:
                tell_outcome(job, ended.outcome)
            if job.started_at and not job.is_async:
                seconds += job.finished_at - job.started_at
                ran += 1
        if ran:
            self._demand.ran(seconds, ran)
        self._board.count(counts, self._slots.busy + self._coroutines.in_hand)

    def _close_claim(self, claim: str) -> None:
        self._open[claim] -= 1
        if self._open[claim] <= 0:
            del self._open[claim]
            self._ended_claims.append(claim)

    def _record_apart(self) -> None:
        """A value that PostgreSQL refuses must not sink its batch: halve until it is alone.

        Whatever fails meanwhile, no outcome leaves memory before it is written.
        """
        stack, self._later = [self._later], []
        while stack:
            batch = stack.pop()
            try:
                self._record_whole(batch)
            except Exception as error:
                if lifecycle.is_refused(error) and len(batch) > 1:
                    middle = len(batch) // 2
                    stack += [batch[middle:], batch[:middle]]
                    continue
                self._later += [ended for part in (*stack, batch) for ended in part]
                raise

    def _record_whole(self, batch: list[Ended]) -> None:
        assert self._connection is not None
        try:
            with self._connection.transaction():
                recorded = lifecycle.record(self._connection, batch).recorded()
        except Exception as error:
            if not lifecycle.is_refused(error) or len(batch) > 1:
                raise
            logger.error("job %s: its outcome was refused: %s", batch[0].job.id, error)
            with self._connection.transaction():
                recorded = lifecycle.record_refused(self._connection, batch[0]).recorded()
        self._account(batch, recorded)

    # Claiming.

    def _wanted(self, now: float) -> list[tuple[list[Lane], int]]:
        """(from which lanes, how many at most), for the thread slots and for the coroutines."""
        if len(self._slots.done) + len(self._later) > MOST_UNRECORDED:
            return []
        target = self._demand.target
        threads = target - self._slots.in_hand
        # Half of a large prefetch at a time, for the same reason that one buys by the dozen.
        threads = threads if threads * 2 >= target else 0
        coroutines = self._coroutines.count - self._coroutines.in_hand
        if threads <= 0 and coroutines <= 0:
            return []
        self._look(now)
        due = [lane for lane, due_at in self._lanes.items() if due_at <= now]
        plain, asynchronous = self._demand.split(due)
        wanted = []
        if plain and threads > 0:
            wanted.append((plain, min(threads, MOST_CLAIMED)))
        if asynchronous and coroutines > 0:
            wanted.append((asynchronous, min(coroutines, MOST_CLAIMED)))
        return wanted

    def _look(self, now: float) -> None:
        """Bring the lanes up to date, when they are old or the last claim found nothing."""
        age = now - self._looked_at
        if self._empty_since is None and age < max(_LOOK_AGAIN, _LOOK_SHARE * self._look_took):
            return
        assert self._connection is not None
        started = time.monotonic()
        lanes = lifecycle.look(self._connection)
        self._looked_at = time.monotonic()
        self._look_took = self._looked_at - started
        new = {lane.queue_name for lane in lanes} - self._queues_noted
        if new:
            presence.note_queues(self._connection, new)
            self._queues_noted |= new
        self._lanes = {
            lane: self._looked_at + due_in
            for lane, due_in in lanes.items()
            if self._options.serves(lane.queue_name)
        }

    def _claim(self, lanes: list[Lane], limit: int) -> lifecycle.Reply:
        assert self._connection is not None
        claim_id = ids.uuid7()
        return lifecycle.claim(
            self._connection,
            lanes,
            limit,
            claim_id=claim_id,
            worker=self._identity.name,
            worker_id=self._identity.worker_id,
            runner=self._identity.runner,
        )

    def _hand_out(self, jobs: list[Claimed]) -> int:
        if not jobs:
            return 0
        self._open[jobs[0].claim] += len(jobs)
        plain: list[Claimed] = []
        asynchronous: list[Claimed] = []
        for job in jobs:
            job.is_async = _is_async(job.task)
            (asynchronous if job.is_async else plain).append(job)
        only_async = {job.queue_name for job in asynchronous} - {job.queue_name for job in plain}
        for queue_name in {job.queue_name for job in jobs}:
            self._demand.saw(queue_name, only_async=queue_name in only_async)
        if plain:
            self._slots.add(plain)
        if asynchronous:
            # A claim for the thread slots may bring more async jobs than there is room for.
            room = max(0, self._coroutines.count - self._coroutines.in_hand)
            self._coroutines.add(asynchronous[:room])
            self._release(asynchronous[room:])
        return len(jobs)

    def _release(self, jobs: list[Claimed]) -> None:
        """Give back what stood in line; it is recorded with the next batch."""
        self._slots.done.extend(Ended(job, Released()) for job in jobs)

    # Resting.

    def _rest(self, now: float, got: int, asked: bool) -> float:
        """How long to sleep after a round that brought `got` jobs."""
        if got:
            self._empty_since = None
            if self._is_idle:
                self._say_idle(False)
        if self.stopping:
            return self._rest_stopping(now)
        if self._slots.done or self._coroutines.done:
            return _GATHER if self._slots.line else 0.0
        if got or not self._has_room():
            return _STANDSTILL if self._slots.line else 1.0
        if asked and self._empty_since is None:
            # The lanes were old: look before resting.
            self._empty_since, self._pause = now, 0.002
            return 0.0
        return self._rest_empty(now)

    def _rest_empty(self, now: float) -> float:
        """Nothing is due. Linger with quick looks, then say so, then look ever more rarely.

        Looking again from 5 ms on after falling asleep finds the job whose transaction was
        open just then: its producer saw nobody asleep, and notified nobody.
        """
        if self._empty_since is None:
            self._empty_since, self._pause = now, 0.002
        if self._options.burst and not self._has_work():
            self.finished = not (
                self._ended_claims or any(due <= now for due in self._lanes.values())
            )
            return 0.005
        if now - self._empty_since < _LINGER:
            pause = min(self._pause, 0.02)
        elif not self._is_idle:
            self._say_idle(True)
            self._pause = 0.005
            return 0.0
        else:
            pause = self._pause
        self._pause = min(self._pause * 2, self._settings.poll_interval.total_seconds())
        next_due = min((due for due in self._lanes.values() if due > now), default=None)
        return pause if next_due is None else min(pause, max(0.001, next_due - now))

    def _rest_stopping(self, now: float) -> float:
        if self._has_work():
            if self._stop_by is not None and now > self._stop_by:
                # Nobody is left to kill this process, and others will take its jobs.
                os._exit(EXIT_ORPHANED)
            return 0.0 if self._slots.done or self._coroutines.done else 0.2
        self.finished = not self._ended_claims
        return 0.0

    def _has_room(self) -> bool:
        return (
            self._slots.in_hand * 2 <= self._demand.target
            or self._coroutines.in_hand < self._coroutines.count
        )

    def _has_work(self) -> bool:
        # In this order: what leaves the slots stands in `done` before they let go of it.
        return bool(self._in_hand() or self._slots.done or self._coroutines.done or self._later)

    def _in_hand(self) -> int:
        return self._slots.in_hand + self._coroutines.in_hand

    def _say_idle(self, idle: bool) -> None:
        if self._settings.listen and self._connection is not None:
            presence.say_idle(self._connection, self._identity, idle=idle)
        self._is_idle = idle

    def _sleep(self, seconds: float) -> None:
        """Until something rings, at most so long."""
        if seconds > 0:
            target = self._demand.target
            self._slots.ring_below = 0 if target <= self._slots.count else target // 2
            ring = self._ring
            self._slots.ring = self._coroutines.ring = ring
            # Whatever ended before the bell was set has rung nobody.
            if (self._slots.done and not self._slots.line) or self._coroutines.done:
                seconds = 0.0
        calls, orphaned = self._bell.wait(seconds, self._lifeline)
        self._slots.ring = self._coroutines.ring = None
        if Call.WAKE in calls and self._is_idle:
            self._pause = 0.005
        if orphaned and self._stop_by is None:
            # Nobody says any more that this runner lives: end before others take its jobs.
            self._lifeline = None
            self._stop_by = time.monotonic() + self._settings.heartbeat_timeout.total_seconds() / 3
        if Call.STOP in calls or orphaned:
            self.stop()

    def _ring(self) -> None:
        # Once for each sleep.
        self._slots.ring = self._coroutines.ring = None
        self._bell.ring()

    def stop(self) -> None:
        """Claim nothing more, and give back what has not started."""
        self.stopping = True
        self._release(self._slots.take_back())

    # Now and then.

    def _house_keep(self, now: float) -> None:
        assert self._connection is not None
        if self._slots.line and now - self._slots.moved_at > _STANDSTILL:
            self._demand.stood_still(now - self._slots.moved_at)
            self._release(self._slots.take_back())
        if self._told and now - self._told_at > 0.5:
            self._told_at = now
            told, self._told = list(self._told.values()), {}
            lifecycle.write_progress(self._connection, told)
        if self._open and now - self._asked_at > 1.0:
            self._asked_at = now
            for job_id in lifecycle.cancel_requests(self._connection, self._open):
                self._cancel(job_id)
        if now - self._swept_at > self._settings.heartbeat_interval.total_seconds():
            self._swept_at = now
            self._sweep()
        self._board.count({}, self._in_hand())

    def _cancel(self, job_id: str) -> None:
        self._cancelled.add(job_id)
        exception = JobCancelled("the job was cancelled while it ran")
        self._slots.interrupt(job_id, exception)
        self._coroutines.interrupt(job_id, exception)

    def _sweep(self) -> None:
        """Give back claims in this runner's name whose replies were lost."""
        assert self._connection is not None
        known = [*self._open, *self._ended_claims]
        for claim in lifecycle.strays(self._connection, self._identity.runner, known):
            lifecycle.give_back(
                self._connection,
                claim,
                charged=False,
                started=(),
                note="the claim's reply was lost",
            )

    # The connection.

    def _connect(self) -> None:
        self._connection = lifecycle.connect(f"jobs runner {self._identity.name}")
        self._sweep()

    def _mend(self, error: Exception, failures: int) -> float:
        """After an error: a new connection where it is needed, ever more patiently."""
        if failures == 1 or failures % 20 == 0:
            logger.warning("runner %s: %s", self._identity.name, str(error).strip())
        gone = isinstance(error, psycopg.Error) and lifecycle.is_gone(error)
        if self._connection is not None and (gone or self._connection.closed):
            self._connection.close()
            self._connection = None
            self._is_idle = False
        return min(5.0, 0.05 * 2.0 ** min(failures, 8)) * (0.5 + random.random())  # noqa: S311

    def _leave(self) -> None:
        if self._connection is not None:
            if self._is_idle:
                self._say_idle(False)
            self._connection.close()


def _is_async(task: str) -> bool:
    try:
        return resolve(task).is_async
    except BaseException:
        # Importing its module may raise anything. Told when it runs, on the job itself.
        return False


def tell_outcome(job: Claimed, outcome: Outcome) -> None:
    """One line for each attempt that went wrong."""
    match outcome:
        case Failed(problem, reason):
            _tell(logging.ERROR, job, "failed", problem.exception_class, problem.message, reason)
        case Retried(problem, delay, reason):
            what = f"failed, again in {_seconds(delay)}"
            _tell(logging.WARNING, job, what, problem.exception_class, problem.message, reason)
        case Cancelled(problem, reason):
            _tell(logging.INFO, job, "cancelled", problem.exception_class, problem.message, reason)


def _tell(level: int, job: Claimed, what: str, exception: str, message: str, reason: str) -> None:
    first_line = message.partition("\n")[0]
    logger.log(
        level,
        "%s %s: %s: %s (job %s, attempt %s)",
        job.task,
        what,
        exception.rpartition(".")[2],
        first_line,
        job.id,
        job.attempt,
        extra={"job_id": job.id, "task": job.task, "attempt": job.attempt, "reason": reason},
    )


def _tell_taken_over(job: Claimed) -> None:
    logger.warning(
        "%s was taken over by another worker; its outcome was not written (job %s, attempt %s)",
        job.task,
        job.id,
        job.attempt,
    )


def _seconds(delay: timedelta) -> str:
    return f"{delay.total_seconds():.1f} s"
