"""What the dispatcher still has to write: outcomes, progress, and claims that are done.

The rule of this room: an outcome leaves memory only once it is known what its row says.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable
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
# Progress is written at most so often, in seconds.
_PROGRESS = 0.5


class Recorder:
    def __init__(
        self,
        slots: ThreadSlots,
        coroutines: CoroutineSlots,
        board: Board,
        demand: Demand,
        tally: Tally,
    ) -> None:
        self.tally = tally
        self._slots = slots
        self._coroutines = coroutines
        self._board = board
        self._demand = demand
        # Jobs of each known claim that are not recorded yet, and claims that have none left.
        self._open: dict[str, set[str]] = {}
        self._ended_claims: list[str] = []
        # Outcomes that could not be written, and from when on to try again.
        self._later: list[Ended] = []
        self._later_at = 0.0
        self._told: dict[str, Told] = {}
        self._told_at = 0.0
        self.logs = Logs()
        self._silences = Silences()
        # How many attempts have ended here.
        self.ran = 0
        # Jobs that somebody wants cancelled.
        self.cancelled: set[str] = set()

    @property
    def backlog(self) -> int:
        return len(self._slots.done) + len(self._coroutines.done) + len(self._later)

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
        return [*self._open, *self._ended_claims]

    def opened(self, claim: str, jobs: Iterable[str]) -> None:
        self._open[claim] = set(jobs)

    def release(self, jobs: list[Claimed]) -> None:
        """Give back what has not started, with the next batch."""
        self._slots.done.extend(Ended(job, Released()) for job in jobs)

    def tell(self, job: Claimed, done: float, total: float | None, message: str) -> None:
        """Keep a task's progress until the next write. Called by the slots."""
        self._told[job.id] = Told(job, done, total, message)

    def write_progress(self, connection: Connection, now: float) -> None:
        if self._told and now - self._told_at > _PROGRESS:
            self._told_at = now
            told, self._told = list(self._told.values()), {}
            lifecycle.write_progress(connection, told)
        self.logs.write(connection, now)

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
        if self._ended_claims:
            lifecycle.forget_claims(connection, self._ended_claims)
        return sent

    def book(self, connection: Connection, batch: list[Ended], sent: lifecycle.Sent) -> None:
        """The pipeline has committed: book what was written, sort out what was not.

        Reading back comes first: should it fail, nothing is booked, and the batch is whole.
        What is booked leaves the batch, so that nobody puts it back.
        """
        later, lost = self._unwritten(connection, batch, sent.recorded())
        self._ended_claims = []
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

    def write_apart(self, connection: Connection) -> None:
        """A value that PostgreSQL refuses must not sink its batch: halve until it is alone.

        Whatever fails meanwhile, no outcome leaves memory before it is written.
        """
        stack, self._later = [self._later], []
        while stack:
            batch = stack.pop()
            try:
                self._write_whole(connection, batch)
            except Exception as error:
                if lifecycle.is_refused(error) and len(batch) > 1:
                    middle = len(batch) // 2
                    stack += [batch[middle:], batch[:middle]]
                    continue
                self._later += [ended for part in (*stack, batch) for ended in part]
                raise

    def _write_whole(self, connection: Connection, batch: list[Ended]) -> None:
        try:
            with connection.transaction():
                sent = self.send(connection, batch)
        except Exception as error:
            if not lifecycle.is_refused(error) or len(batch) > 1:
                raise
            logger.error("job %s: its outcome was refused: %s", batch[0].job.id, error)
            with connection.transaction():
                sent = lifecycle.record_refused(connection, batch[0])
        self.book(connection, batch, sent)


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
