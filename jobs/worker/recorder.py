"""What the dispatcher still has to write: outcomes, progress, and claims that are done.

The rule of this room: an outcome leaves memory only once it is known what its row says.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg

from jobs import lifecycle
from jobs.lifecycle import Claimed, Ended, Told
from jobs.outcomes import (
    Committed,
    Released,
    Succeeded,
    TakenOver,
)

from .board import Board
from .coroutines import CoroutineSlots
from .demand import MOST_CLAIMED, Demand
from .logs import Logs
from .report import tell_outcome
from .silences import Silences
from .slots import ThreadSlots
from .tally import Tally

logger = logging.getLogger("jobs")
Connection = psycopg.Connection[Any]

# A row that somebody holds is tried again this much later, in seconds.
_LOCKED = 0.5
# All in seconds. What was refused with its batch is written apart for so long at a time: claims go
# on meanwhile.
_APART = 0.2
# What is refused alone is tried again after _AGAIN, then after twice as long each time, up to
# _RARELY; once it has been refused for _PATIENCE, a bare failure is recorded instead.
_AGAIN, _RARELY, _PATIENCE = 0.5, 30.0, 60.0
# Progress is written at most so often, in seconds.
_PROGRESS = 0.5
# So many claims whose deletion may be refused are remembered.
_MOST_SUSPECT = 1000


@dataclass(slots=True)
class _SetAside:
    """An outcome that PostgreSQL refuses even alone."""

    ended: Ended
    since: float
    try_at: float
    pause: float = _AGAIN


class Recorder:
    def __init__(
        self,
        name: str,
        slots: ThreadSlots,
        coroutines: CoroutineSlots,
        board: Board,
        demand: Demand,
        tally: Tally,
    ) -> None:
        self.tally = tally
        self._name = name
        self._slots = slots
        self._coroutines = coroutines
        self._board = board
        self._demand = demand
        # Jobs of each known claim that are not recorded yet, and claims that have none left.
        self._open: dict[str, set[str]] = {}
        self._ended_claims: list[str] = []
        # Of those, what is deleted apart: PostgreSQL has refused it, or something beside it.
        self._suspect_claims: list[str] = []
        self._suspect_claims_at = 0.0
        # Until then all are: at least one was refused alone.
        self._claims_apart_until = 0.0
        # Outcomes that could not be written, and from when on to try again.
        self._later: list[Ended] = []
        self._later_at = 0.0
        # Batches that were refused, the next one last: never sent with claims again.
        self._suspects: list[list[Ended]] = []
        # By id and claim, what is refused alone.
        self._set_aside: dict[tuple[str, str], _SetAside] = {}
        self._told: dict[str, Told] = {}
        self._told_at = 0.0
        self.logs = Logs(name)
        self._silences = Silences()
        # Whether the next batch gives back jobs: nothing is claimed before that has committed, or a
        # job of less priority would be claimed in their place.
        self.has_released = False
        # How many attempts have ended here.
        self.ran = 0
        # Jobs that somebody wants cancelled.
        self.cancelled: set[str] = set()

    @property
    def backlog(self) -> int:
        fresh = len(self._slots.done) + len(self._coroutines.done)
        suspects = sum(map(len, self._suspects))
        return fresh + len(self._later) + suspects + len(self._set_aside)

    @property
    def to_record(self) -> int:
        """The backlog without what PostgreSQL refuses: what a runner that ends waits for."""
        return self.backlog - len(self._set_aside)

    @property
    def has_fresh(self) -> bool:
        """Outcomes that nobody has tried to write yet."""
        return bool(self._slots.done or self._coroutines.done)

    @property
    def has_ended_claims(self) -> bool:
        return bool(self._ended_claims)

    @property
    def open_claims(self) -> list[str]:
        return list(self._open)

    @property
    def known_claims(self) -> list[str]:
        return [*self._open, *self._ended_claims, *self._suspect_claims]

    def opened(self, claim: str, jobs: Iterable[str]) -> None:
        self._open[claim] = set(jobs)

    def release(self, jobs: list[Claimed]) -> None:
        """Give back what has not started, with the next batch."""
        self.has_released = self.has_released or bool(jobs)
        self._slots.done.extend(Ended(job, Released()) for job in jobs)

    def tell(self, job: Claimed, done: float, total: float | None, message: str) -> None:
        """Keep a task's progress until the next write. Called by the slots."""
        self._told[job.id] = Told(job, done, total, message)

    def write_progress(self, connection: Connection, now: float) -> None:
        if self._told and now - self._told_at > _PROGRESS:
            self._told_at = now
            told, self._told = list(self._told.values()), {}
            self._write_progress(connection, told)
        self.logs.write(connection, now)

    def _write_progress(self, connection: Connection, told: list[Told]) -> None:
        """What is refused costs one job's progress."""
        try:
            lifecycle.write_progress(connection, told)
        except Exception as error:
            if not lifecycle.is_refused(error, connection):
                raise
            lifecycle.write_apart(
                connection,
                told,
                lambda part: lifecycle.write_progress(connection, part),
                lambda one, error: lifecycle.note_refusal(
                    connection, "progress", one.job.id, error, by=self._name
                ),
            )

    def gather(self, now: float) -> list[Ended]:
        """The next batch. It is nowhere else now: write it, or put it back."""
        batch: list[Ended] = []
        if self._later and now >= self._later_at:
            batch, self._later = self._later[:MOST_CLAIMED], self._later[MOST_CLAIMED:]
        for done in (self._slots.done, self._coroutines.done):
            while done and len(batch) < MOST_CLAIMED:
                batch.append(done.popleft())
        return batch

    def put_back(self, batch: list[Ended]) -> None:
        self._later = batch + self._later
        self._later_at = 0.0

    def send(self, connection: Connection, batch: list[Ended]) -> lifecycle.Sent:
        """Send what is to be written, in the caller's pipeline."""
        told = [self._told.pop(ended.job.id, None) for ended in batch] if self._told else []
        if any(told):
            # What ending jobs told last is written before they end.
            lifecycle.write_progress(connection, [one for one in told if one])
        sent = lifecycle.record(connection, batch)
        if self._ended_claims and time.monotonic() < self._claims_apart_until:
            self._suspect(self._ended_claims)
            self._ended_claims = []
        if self._ended_claims:
            lifecycle.forget_claims(connection, self._ended_claims)
        return sent

    def book(self, connection: Connection, batch: list[Ended], sent: lifecycle.Sent) -> None:
        """The pipeline has committed: book what was written, sort out what was not.

        Reading back comes first: should it fail, nothing is booked, and the batch is whole.
        What is booked leaves the batch, so that nobody puts it back.
        """
        recorded = sent.recorded()
        later, lost = self._unwritten(connection, batch, recorded)
        self._ended_claims = []
        self._book_sorted(connection, batch, later, lost)

    def _book(self, connection: Connection, batch: list[Ended], recorded: set[str]) -> None:
        self._book_sorted(connection, batch, *self._unwritten(connection, batch, recorded))

    def _book_sorted(
        self,
        connection: Connection,
        batch: list[Ended],
        later: set[tuple[str, str]],
        lost: set[tuple[str, str]],
    ) -> None:
        seconds, ran, attempts = 0.0, 0, 0
        to_tell: list[Ended] = []
        written = _sorted_out(batch, later, lost) if later or lost else batch
        for ended in written:
            job = ended.job
            if ended.outcome.__class__ is not Succeeded:
                to_tell.append(ended)
            self._close(job)
            if job.started_at:
                attempts += 1
                if not job.is_async:
                    seconds += job.finished_at - job.started_at
                    ran += 1
        counts = self.tally.add(written)
        self.logs.forget(written)
        self.ran += attempts
        batch.clear()
        if ran:
            self._demand.ran(seconds, ran)
        self._board.add(counts)
        # Last, and guarded: a log handler of the site's may raise, and all is booked.
        for ended in to_tell:
            with contextlib.suppress(Exception):
                quietly = self._silences.cover(connection, ended.job.task, ended.outcome)
                tell_outcome(ended.job, ended.outcome, quietly=quietly)
            # A handler may be slow, as one that sends mail is.
            self._board.expect(0.0)

    def _unwritten(
        self, connection: Connection, batch: list[Ended], recorded: set[str]
    ) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """(id and claim) of those to be written later, and of those that are others' by now."""
        missing = [
            ended
            for ended in batch
            if ended.job.id not in recorded and type(ended.outcome) is not Committed
        ]
        if not missing:
            return set(), set()
        found = lifecycle.unrecorded(connection, missing)
        # Taken over, it thought, and it is not: its work was rolled back, so again.
        self._later.extend(
            Ended(ended.job, Released()) if type(ended.outcome) is TakenOver else ended
            for ended in found.later
        )
        self._later_at = time.monotonic() + _LOCKED
        return _keys(found.later), _keys(found.lost)

    def _close(self, job: Claimed) -> None:
        if job.place:
            self._board.end(job.place)
            job.place = 0
        self.cancelled.discard(job.id)
        left = self._open.get(job.claim)
        if left is None:
            return
        left.discard(job.id)
        if not left:
            del self._open[job.claim]
            self._ended_claims.append(job.claim)

    # What is refused.

    def suspect(self, batch: list[Ended]) -> None:
        """Take a batch that was refused: from now on it is written apart from claims and others."""
        if batch:
            self._suspects.append(batch)
        # They were to be deleted in the same transaction.
        self._suspect(self._ended_claims)
        self._ended_claims = []
        if time.monotonic() >= self._claims_apart_until:
            self._suspect_claims_at = 0.0

    def _suspect(self, claims: list[str]) -> None:
        # A claim without jobs that stays costs nothing, and is deleted after this runner has ended.
        self._suspect_claims = [*self._suspect_claims, *claims][-_MOST_SUSPECT:]

    @property
    def wants_apart(self) -> bool:
        """Whether there is anything that `write_apart` would write now."""
        now = time.monotonic()
        return (
            bool(self._suspects)
            or any(one.try_at <= now for one in self._set_aside.values())
            or (bool(self._suspect_claims) and self._suspect_claims_at <= now)
        )

    def retry_now(self) -> None:
        """Try once more what is set aside: the runner ends."""
        for one in self._set_aside.values():
            one.try_at = 0.0

    def write_apart(self, connection: Connection) -> None:
        """Halve what was refused until the refused outcome is alone, and set that one aside.

        Goes on for about `_APART` seconds. Whatever fails meanwhile, no outcome leaves memory
        before it is written. Raises what is no refusal.
        """
        until = time.monotonic() + _APART
        while self._suspects and time.monotonic() < until:
            # A handler of the site's, called as something is recorded, may be slow.
            self._board.expect(_APART)
            batch = self._suspects.pop()
            try:
                self._write_whole(connection, batch)
            except Exception as error:
                if not lifecycle.is_refused(error, connection):
                    self._suspects.append(batch)
                    raise
                if len(batch) > 1:
                    middle = len(batch) // 2
                    self._suspects += [batch[middle:], batch[:middle]]
                elif batch:
                    self._set_one_aside(connection, batch[0], error)
        for key, one in list(self._set_aside.items()):
            if time.monotonic() >= until:
                break
            if one.try_at <= time.monotonic():
                self._try_again(connection, key, one)
        if self._suspect_claims and self._suspect_claims_at <= time.monotonic():
            self._forget_suspect_claims(connection)

    def _forget_suspect_claims(self, connection: Connection) -> None:
        refused: list[str] = []
        self._board.expect(_APART)
        lifecycle.write_apart(
            connection,
            self._suspect_claims,
            lambda part: lifecycle.forget_claims(connection, part),
            lambda claim, error: refused.append(claim),
        )
        self._suspect_claims = refused
        self._suspect_claims_at = time.monotonic() + _RARELY
        self._claims_apart_until = self._suspect_claims_at if refused else 0.0

    def _write_whole(self, connection: Connection, batch: list[Ended]) -> None:
        with connection.transaction():
            recorded = lifecycle.record(connection, batch).recorded()
        self._book(connection, batch, recorded)

    def _set_one_aside(self, connection: Connection, ended: Ended, error: Exception) -> None:
        now = time.monotonic()
        key = (ended.job.id, ended.job.claim)
        one = self._set_aside[key] = _SetAside(ended, since=now, try_at=now)
        self._record_otherwise(connection, key, one, error)

    def _try_again(self, connection: Connection, key: tuple[str, str], one: _SetAside) -> None:
        batch = [one.ended]
        try:
            self._write_whole(connection, batch)
        except Exception as error:
            if not lifecycle.is_refused(error, connection):
                raise
            self._record_otherwise(connection, key, one, error)
            return
        del self._set_aside[key]
        lifecycle.forget_refusals(connection, "end", [one.ended.job.id])

    def _record_otherwise(
        self, connection: Connection, key: tuple[str, str], one: _SetAside, error: Exception
    ) -> None:
        """Record less of the outcome; where that is refused, too, wait."""
        give_up = time.monotonic() - one.since > _PATIENCE
        job_id, subject = one.ended.job.id, "attempt"
        try:
            instead = lifecycle.record_refused(connection, one.ended, error, give_up=give_up)
            if instead.lacks_followers_only:
                subject = "follower"
                task = one.ended.job.task
                logger.error("nothing follows job %s of %s: it was refused", job_id, task)
        except Exception as failure:
            if not lifecycle.is_refused(failure, connection):
                raise
            lifecycle.note_refusal(connection, "end", job_id, error, by=self._name)
            one.try_at = time.monotonic() + one.pause
            one.pause = min(2 * one.pause, _RARELY)
            return
        # Booked before it leaves memory; if that fails, it is read back at the next try.
        self._book(connection, [instead.ended], {job_id} if instead.is_written else set())
        del self._set_aside[key]
        if instead.is_written:
            # Its end is known, of which a part is missing.
            lifecycle.forget_refusals(connection, "end", [job_id])
            lifecycle.note_refusal(connection, subject, job_id, error, by=self._name)


def _sorted_out(
    batch: list[Ended], later: set[tuple[str, str]], lost: set[tuple[str, str]]
) -> list[Ended]:
    """Without those to be written later; of those that are others' by now, that they are."""
    return [
        Ended(ended.job, TakenOver()) if (ended.job.id, ended.job.claim) in lost else ended
        for ended in batch
        if (ended.job.id, ended.job.claim) not in later
    ]


def _keys(ended: Iterable[Ended]) -> set[tuple[str, str]]:
    return {(one.job.id, one.job.claim) for one in ended}
