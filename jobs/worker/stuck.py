"""What hangs without anybody killing it: a blocked event loop, a job that never ends. Both are
told in the log once, with where they are."""

from __future__ import annotations

import logging
from datetime import timedelta

from jobs.lifecycle import Claimed

from .board import Board
from .coroutines import CoroutineSlots
from .slots import ThreadSlots

# Both in seconds. A loop that does not answer for so long is told of…
_HUNG_LOOP = 5.0
# …and whoever keeps it from answering for so long is to blame for others that go on.
_BLOCKS = 1.0

logger = logging.getLogger("jobs")


class Stuck:
    def __init__(
        self,
        runner: str,
        slots: ThreadSlots,
        coroutines: CoroutineSlots,
        board: Board,
        after: timedelta | None,
    ) -> None:
        self._runner = runner
        self._slots = slots
        self._coroutines = coroutines
        self._board = board
        self._after = float("inf") if after is None else after.total_seconds()
        self._loop_hangs = False
        # (id, claim) of the jobs that were told of and still run.
        self._told: set[tuple[str, str]] = set()

    def look(self, now: float) -> None:
        """Look at all that runs; to be called about once a second while anything does."""
        self._look_at_the_loop(now)
        before, self._told = self._told, set()
        for slots in (self._slots, self._coroutines):
            for job in slots.running():
                if job.timeout is not None or job.now() - job.started_at < self._after:
                    continue
                key = (job.id, job.claim)
                self._told.add(key)
                if key not in before:
                    self._tell(job, slots.where(job))

    def _tell(self, job: Claimed, where: str) -> None:
        logger.warning(
            "runner %s: job %s has run for %s and has no time limit; it may be stuck: cancel it, "
            "or give its task %s a timeout. It is here:\n%s",
            self._runner,
            job.id,
            timedelta(seconds=round(job.now() - job.started_at)),
            job.task,
            where,
        )

    def _look_at_the_loop(self, now: float) -> None:
        silent = self._coroutines.silent_for(now)
        blocking = self._coroutines.who_blocks() if silent > _BLOCKS else None
        if blocking is not None and blocking.place and not blocking.is_over:
            # Nobody there can be interrupted, and it is to blame if it has to end itself.
            self._board.reached(blocking.place)
        if silent > _HUNG_LOOP and not self._loop_hangs:
            logger.warning(
                "runner %s: its event loop has not answered for %.0f s, because a coroutine "
                "does not give way; it is here:\n%s",
                self._runner,
                silent,
                self._coroutines.stack(),
            )
        self._loop_hangs = silent > _HUNG_LOOP
