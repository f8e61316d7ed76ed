"""The watchdog: which runners the supervisor has to kill, and why.

An interruption asks; whoever does not end within its grace is killed with its whole process.
Only that job is charged for it: the others that ran there are given back uncounted.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from jobs import conf, lifecycle

from .board import CANCELLED, Overdue
from .family import Child

# All in seconds. So long after it should have shown itself, a runner's dispatcher hangs: longer
# than any statement, and any attempt to connect, may take.
_HUNG = 120.0
# A runner that has been silent for so long hears of no cancellation itself…
_DEAF = 1.5
# …so it is asked for it so often.
_ASK = 1.0
# And after so long it is told.
_TELL = 10.0

logger = logging.getLogger("jobs")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Why a runner is to be killed, and the jobs that are charged for it in their own way.

    `charged`: so are all the others that had started, with a loss.
    """

    note: str
    overdue: tuple[Overdue, ...] = ()
    charged: bool = False


class Watchdog:
    def __init__(self) -> None:
        self._grace = conf.settings().interrupt_grace.total_seconds()
        # For runners that hear nothing: when each was asked about last, and by when each of
        # their cancelled jobs has to have ended.
        self._asked: dict[UUID, float] = {}
        self._doomed: dict[UUID, dict[str, float]] = {}
        self._told: set[UUID] = set()

    def judge(self, child: Child, awake_since: float) -> Sentence | None:
        """None: let it live. `awake_since`: from then on this process could see."""
        now = time.monotonic()
        if now - awake_since < self._grace and awake_since > child.started_at:
            # All of it was stopped, and the interruptions have only just been sent.
            return None
        silent = now - child.board.ticked_at
        self._tell_of_silence(child, now - max(child.board.ticked_at, awake_since))
        overdue = child.board.overdue(now) or self._cancelled(child, now)
        reached = [one for one in overdue if one.is_reached]
        if reached:
            return Sentence(_why(reached), tuple(reached))
        if overdue and silent > _DEAF:
            return _sentence_for_silence(child, overdue)
        # Else what is overdue is kept from its interruption by another, which has no limit.
        if child.board.back_by and now - child.board.back_by > _HUNG and silent < _DEAF:
            return Sentence("its connection thread hung", charged=True)
        return None

    def ask(self, child: Child, control: psycopg.Connection[Any]) -> None:
        """Hear, for a runner whose own threads cannot run, which of its jobs somebody wants
        cancelled (two queries, once a second)."""
        now, runner = time.monotonic(), child.identity.runner
        if not child.board.in_hand or now - child.board.ticked_at < _DEAF:
            self._doomed.pop(runner, None)
        elif now - self._asked.get(runner, 0.0) >= _ASK:
            self._asked[runner] = now
            claims = lifecycle.claims_of(control, runner)
            wanted = lifecycle.cancel_requests(control, claims)
            before = self._doomed.get(runner, {})
            self._doomed[runner] = {id_: before.get(id_, now + self._grace) for id_ in wanted}

    def _cancelled(self, child: Child, now: float) -> list[Overdue]:
        doomed = self._doomed.get(child.identity.runner, {})
        late = [id_ for id_, end_by in doomed.items() if end_by <= now]
        found = (child.board.doomed(id_) for id_ in late)
        return [one for one in found if one is not None]

    def _tell_of_silence(self, child: Child, seconds: float) -> None:
        runner = child.identity.runner
        if not child.board.in_hand or seconds < _TELL:
            self._told.discard(runner)
        elif runner not in self._told:
            self._told.add(runner)
            logger.warning(
                "runner %s (process %s) has not been heard of for %.0f s: a job holds the "
                "interpreter's lock, or the process is stopped",
                child.identity.name,
                child.pid,
                seconds,
            )

    def forget(self, runner: UUID) -> None:
        """It has ended."""
        self._asked.pop(runner, None)
        self._doomed.pop(runner, None)
        self._told.discard(runner)


def _sentence_for_silence(child: Child, overdue: list[Overdue]) -> Sentence:
    """No thread of the runner can run, so nobody was interrupted. Where one job runs, it is to
    blame; where several do, nobody can tell, and each is charged as for any other death."""
    if child.board.count_running() == len(overdue) == 1:
        return Sentence(_why(overdue), tuple(overdue))
    return Sentence(
        f"{_why(overdue)}, or another beside it that holds the interpreter's lock", charged=True
    )


def _why(overdue: list[Overdue]) -> str:
    told = [
        f"{one.id} went on after "
        + ("it was cancelled" if one.verdict == CANCELLED else "its time limit")
        for one in overdue
    ]
    return f"its process was killed: job {', job '.join(told)}"
