"""Giving back what nobody works on: a supervisor's part that compares what is with what should
be. Claims of the dead, of workers that fell silent, and what stands behind a job that never
lets its runner's other threads run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg

from jobs import conf, lifecycle
from jobs.execution import clean
from jobs.models import State
from jobs.outcomes import TIMEOUT, Cancelled, Failed, Outcome, Problem, Retried

from . import presence
from .board import CANCELLED, FAILED, Board, Overdue
from .failure_detector import FailureDetector
from .report import tell_loss, tell_outcome
from .silences import Silences
from .tally import Tally

logger = logging.getLogger("jobs")

# All in seconds. A runner whose pulse stands still for so long cannot give back its line…
_STUCK = 0.5
# …which is done for it, so often as it goes on…
_AGAIN = 1.0
# …and what it wrote before it saw the board revoked is visible long before so much later.
_VISIBLE = 0.01
# So many dead runners are remembered: their last claims may still commit.
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Death:
    """How a runner died, for the jobs that it held: those that were `overdue` ended by it, and
    the others that had started are `charged` with a loss, or not. Without a board nobody can
    tell which had."""

    note: str
    board: Board | None
    charged: bool
    overdue: tuple[Overdue, ...] = ()
    # What its threads were doing.
    stacks: str = ""


_UNKNOWN = Death("its worker was not heard of any more", None, charged=True)


class Rescuer:
    def __init__(
        self,
        add: Callable[[dict[str, int]], None],
        wake: Callable[[], None],
        tally: Tally,
    ) -> None:
        self._add = add
        # Of what ended without a runner to count it.
        self.tally = tally
        self._wake = wake
        settings = conf.settings()
        self._timeout = settings.heartbeat_timeout
        self._detector = FailureDetector(
            settings.heartbeat_interval.total_seconds(), self._timeout.total_seconds()
        )
        self._deaths: dict[str, Death] = {}
        # When this process last woke from a sleep that it had not meant: the machine was
        # suspended, or all of it was stopped.
        self.awake_since = time.monotonic()
        # When each stuck runner was freed last.
        self._freed: dict[UUID, float] = {}
        self._silences = Silences()
        # Jobs whose rescue was refused.
        self._refused: set[str] = set()

    def died(self, runner: UUID, death: Death) -> None:
        """Remember how a runner died, until its claims are gone."""
        self._deaths[str(runner)] = death
        self._freed.pop(runner, None)
        while len(self._deaths) > _REMEMBERED:
            self._deaths.pop(next(iter(self._deaths)))

    def rescue(
        self,
        control: psycopg.Connection[Any],
        worker_id: UUID,
        live: Collection[UUID],
    ) -> None:
        """Give back the claims that nobody works on."""
        for orphan in lifecycle.orphans(control, worker_id, live):
            death = self._deaths.get(orphan.runner, _UNKNOWN)
            for one in death.overdue:
                if orphan.claim.endswith(one.claim_end):
                    self._end(control, orphan.claim, one, death)
            started = None if death.board is None else death.board.started(orphan.claim)
            rescued = self._give_back(
                control, orphan.claim, death.note, charged=death.charged, started=started
            )
            if rescued and orphan.worker_is_gone:
                presence.note_rescued(control, orphan.worker, rescued)

    def look_for_the_dead(self, control: psycopg.Connection[Any], worker_id: UUID) -> None:
        """Declare dead whose heartbeat has stood still. To be called right after an own heartbeat
        that succeeded: see FailureDetector."""
        try:
            seen = presence.others(control, worker_id)
            dead = self._detector.observe(time.monotonic(), *seen)
            for name in presence.bury(control, dead) if dead else ():
                logger.error(
                    "worker %s is dead: its heartbeat has stood still for %s", name, self._timeout
                )
        except psycopg.Error as error:
            if lifecycle.is_gone(error, control):
                raise
            # What is known to be orphaned is to be given back all the same.
            logger.warning("looking for dead workers: %s", lifecycle.describe(error))

    def _end(
        self, control: psycopg.Connection[Any], claim: str, one: Overdue, death: Death
    ) -> None:
        """What becomes of a job for whose sake its process was killed."""
        outcome = _outcome(one, death)
        try:
            ended = lifecycle.end_killed(control, one.id, claim, one.started_at, outcome)
        except psycopg.Error as error:
            if lifecycle.is_gone(error, control):
                raise
            # The others are to be given back all the same.
            logger.warning("job %s: %s", one.id, lifecycle.describe(error))
            return
        if ended is not None:
            quietly = self._silences.cover(control, ended.task, outcome)
            tell_outcome(ended, outcome, quietly=quietly)
            counted = _COUNTED[one.verdict] if one.verdict < 0 else "retried"
            self.tally.count(ended.queue_name, ended.task, counted)
            self._add({_COUNTED[one.verdict] if one.verdict < 0 else "retried": 1})

    def free(self, control: psycopg.Connection[Any], runner: UUID, board: Board) -> None:
        """Give back what stands in line behind a job that holds the interpreter's lock.

        The runner's own threads cannot, and its process may even be stopped. Claims are read
        before the board is revoked: those that come later are the runner's to run. Both sides
        write first and read then, so for each job at least one sees the other (docs/decisions,
        0004).
        """
        now = time.monotonic()
        silent = now - max(board.ticked_at, self.awake_since)
        if not board.waiting or silent < _STUCK or now - self._freed.get(runner, 0.0) < _AGAIN:
            return
        claims = lifecycle.claims_of(control, runner)
        board.revoke()
        time.sleep(_VISIBLE)
        for claim in claims:
            self._give_back(
                control,
                claim,
                "its runner was busy",
                charged=False,
                started=board.started(claim),
                keep_started=True,
            )
        # Not before: what failed is tried again, and a claim under way may yet commit.
        self._freed[runner] = now

    def _give_back(
        self,
        control: psycopg.Connection[Any],
        claim: str,
        note: str,
        *,
        charged: bool,
        started: Collection[str] | None,
        keep_started: bool = False,
    ) -> int:
        """Returns how many jobs were given back, or failed by it."""

        def rescue(only: list[str] | None = None) -> list[lifecycle.Rescued]:
            return lifecycle.give_back(
                control,
                claim,
                note=note,
                charged=charged,
                started=started,
                keep_started=keep_started,
                only=only,
            )

        try:
            rescued = rescue()
        except Exception as error:
            if lifecycle.is_gone(error, control):
                raise
            if not lifecycle.is_refused(error, control):
                # Locked, or too slow just now. One claim must not hold up the others.
                logger.warning("claim %s: %s", claim, lifecycle.describe(error))
                return 0
            rescued, refused = lifecycle.give_back_apart(control, claim, rescue, by="supervisor")
            self._refused |= refused
        for job in rescued:
            if job.charged or job.state == State.FAILED:
                tell_loss(job, note, quietly=self._silences.cover_loss(control, job.task))
                self.tally.count(job.queue_name, job.task, "lost")
        if accepted := [job.id for job in rescued if job.id in self._refused]:
            self._refused.difference_update(accepted)
            lifecycle.forget_refusals(control, "rescue", accepted)
        if rescued:
            self._add({"given_back": len(rescued)})
            self._wake()
        return len(rescued)


_COUNTED = {FAILED: "failed", CANCELLED: "cancelled"}


def _outcome(one: Overdue, death: Death) -> Outcome:
    kind = "JobCancelled" if one.verdict == CANCELLED else "JobTimeout"
    problem = Problem(f"jobs.errors.{kind}", clean(death.note), clean(death.stacks))
    if one.verdict == CANCELLED:
        return Cancelled(problem)
    if one.verdict == FAILED:
        return Failed(problem, TIMEOUT)
    return Retried(problem, timedelta(seconds=one.verdict), TIMEOUT)
