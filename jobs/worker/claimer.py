"""What the dispatcher claims: from which lanes, how many jobs, and for which slots."""

from __future__ import annotations

import logging
import time
from typing import Any

import psycopg

from jobs import ids, lifecycle
from jobs.lifecycle import Claimed, Lane, Place
from jobs.tasks import configured, registered, resolve

from . import presence
from .coroutines import CoroutineSlots
from .demand import MOST_CLAIMED, Demand
from .lanes import Lanes
from .options import Identity, Options
from .recorder import Recorder
from .slots import ThreadSlots

logger = logging.getLogger("jobs")
Connection = psycopg.Connection[Any]

# All in seconds. A line that stands still for so long is given back: another worker may be idle.
STANDSTILL = 0.1
# Beyond this, claiming stops until recording has caught up.
MOST_UNRECORDED = 10_000
# Queues that hold jobs are noted again after so long, in seconds.
_NOTE_AGAIN = 3600.0
# After a claim was refused, so many times fewer jobs are claimed at once, until the job at fault is
# alone; after each claim that is accepted, so many times more.
_FEWER = 8
# All in seconds. A job whose claim is refused is tried again after _AGAIN, then after twice as long
# each time, up to _RARELY.
_AGAIN, _RARELY = 5.0, 60.0
# So many jobs refused one after the other, with none accepted: it may not be the jobs' fault. From
# then on each is set aside for _RARELY at once, after a rest, without a line of its own in the log;
# and beyond the second number without a row of its own.
_MANY_IN_A_ROW, _TOO_MANY_IN_A_ROW = 100, 1000
_REST = 0.02
# What was set aside and not met for so many seconds is forgotten: deleted, or taken by another.
_FORGET = 600.0
# From which lanes, each from its mark on, and how many at most.
Wish = tuple[dict[Lane, Place], int]


class Claimer:
    def __init__(
        self,
        options: Options,
        identity: Identity,
        slots: ThreadSlots,
        coroutines: CoroutineSlots,
        demand: Demand,
        recorder: Recorder,
    ) -> None:
        self._options = options
        self._identity = identity
        self._slots = slots
        self._coroutines = coroutines
        self._demand = demand
        self._recorder = recorder
        self._lanes = Lanes()
        # How many jobs a claim may bring at most, at present.
        self._most = MOST_CLAIMED
        # Jobs whose claim is refused: until when (monotonic), and after which pause.
        self._set_aside: dict[str, tuple[float, float]] = {}
        self._in_a_row = 0
        # Of those, what has been claimed since; its notes are to be deleted.
        self.accepted_now: list[str] = []
        self._queues_noted: set[str] = set()
        self._queues_noted_at = time.monotonic()
        self._is_async: dict[str, bool] = {}
        for queue_name in _async_queues():
            demand.saw(queue_name, only_async=True)

    def wishes(
        self, connection: Connection, now: float, *, look: bool, rung: bool = False
    ) -> list[Wish]:
        """One for the thread slots and one for the coroutines, where there is room and work.

        `look`: bring the lanes up to date however old they are. `rung`: a job was just enqueued,
        most likely in a lane that is known, so claim without a look, which is a round trip.
        """
        if self._recorder.backlog > MOST_UNRECORDED:
            return []
        threads, coroutines = self._room()
        if threads <= 0 and coroutines <= 0:
            return []
        due = self._lanes.marks() if rung else {}
        if not due:
            self._look(connection, now, at_once=look)
            # What came due while it looked counts, too.
            due = self._lanes.due(time.monotonic())
        plain, asynchronous = self._demand.split(due)
        wishes = []
        for lanes, room in ((plain, threads), (asynchronous, coroutines)):
            if lanes and room > 0:
                wishes.append(({lane: due[lane] for lane in lanes}, min(room, self._most)))
        # While a job that is refused is looked for, one claim at a time.
        return wishes if self._most == MOST_CLAIMED else wishes[:1]

    @property
    def has_room(self) -> bool:
        """Whether a job that came now could be claimed. Coroutines count once async tasks were
        seen: else every runner with a long function would ask to be notified in vain."""
        threads, coroutines = self._room()
        return threads > 0 or (coroutines > 0 and self._demand.knows_async)

    def _room(self) -> tuple[int, int]:
        # At least half of a prefetch at a time, for the same reason that one buys by the dozen.
        # (What stands in line for a slot that is free is as good as started.)
        threads = self._slots.count + self._demand.prefetch - self._slots.in_hand
        if threads < self._demand.prefetch - self._demand.prefetch // 2:
            threads = 0
        if self._coroutines.stood_still(time.monotonic()) > STANDSTILL:
            return threads, 0
        return threads, self._coroutines.count - self._coroutines.in_hand

    def _look(self, connection: Connection, now: float, *, at_once: bool) -> None:
        """Bring the lanes up to date, as far as that is cheap."""
        lanes = self._lanes
        if lanes.wants_look(now, at_once=at_once):
            began = time.monotonic()
            seen = lifecycle.look(connection)
            self._note_queues(connection, {lane.queue_name for lane in seen.first})
            own = [lane for lane in seen.first if self._options.serves(lane.queue_name)]
            lanes.looked(seen, own, began=began, now=time.monotonic())
        elif lanes.wants_glance(now, at_once=at_once):
            began = time.monotonic()
            since = lanes.glance_from()
            seen = lifecycle.glance(connection, since)
            lanes.glanced(seen, since, began=began, now=time.monotonic())

    def look_again(self) -> None:
        """Look everywhere before the next claim: jobs stand behind the marks again."""
        self._lanes.look_again()

    def _note_queues(self, connection: Connection, names: set[str]) -> None:
        now = time.monotonic()
        if now - self._queues_noted_at > _NOTE_AGAIN:
            # A queue that was empty for long has been forgotten.
            self._queues_noted, self._queues_noted_at = set(), now
        new = names - self._queues_noted
        if new:
            presence.note_queues(connection, new)
            self._queues_noted |= new

    def sees_due(self, connection: Connection, now: float) -> bool:
        """Whether the last look saw a job that is due, and is not set aside."""
        due = self._lanes.due(now)
        skipped = self._skipped() if due else []
        if not skipped:
            return bool(due)
        return lifecycle.first_due(connection, due, set_aside=skipped) is not None

    def looked_since(self, moment: float) -> bool:
        """Whether every lane was looked into since then."""
        return self._lanes.looked_since(moment)

    def next_due_in(self, now: float) -> float | None:
        """The seconds until the next job is due that was not when it was looked."""
        return self._lanes.next_due_in(now)

    def claim(self, connection: Connection, wish: Wish) -> lifecycle.Reply:
        marks, limit = wish
        return lifecycle.claim(
            connection,
            marks,
            limit,
            claim_id=ids.uuid7(),
            worker=self._identity.name,
            worker_id=self._identity.worker_id,
            runner=self._identity.runner,
            set_aside=self._skipped(),
        )

    def _skipped(self) -> list[str]:
        """The jobs that are set aside at the moment."""
        if not self._set_aside:
            return []
        now = time.monotonic()
        for job, (until, _) in list(self._set_aside.items()):
            if now - until > _FORGET:
                del self._set_aside[job]
        return [job for job, (until, _) in self._set_aside.items() if until > now]

    def refused(self, connection: Connection, wishes: list[Wish], error: Exception) -> float:
        """A claim was refused that was sent alone: claim fewer at once, or set the one aside.

        Returns for how many seconds to rest.
        """
        if self._most > 1:
            fewest = min(limit for _, limit in wishes)
            self._most = max(1, min(self._most, fewest) // _FEWER)
            return 0.0
        [(marks, _)] = wishes
        job = lifecycle.first_due(connection, marks, set_aside=self._skipped())
        if job is None:
            return _REST
        self._in_a_row += 1
        are_many = self._in_a_row > _MANY_IN_A_ROW
        _, pause = self._set_aside.get(job, (0.0, _AGAIN / 2))
        pause = _RARELY if are_many else min(2 * pause, _RARELY)
        self._set_aside[job] = (time.monotonic() + pause, pause)
        if self._in_a_row <= _TOO_MANY_IN_A_ROW:
            by, is_logged = self._identity.name, not are_many
            lifecycle.note_refusal(connection, "claim", job, error, by=by, is_logged=is_logged)
        if self._in_a_row == _MANY_IN_A_ROW + 1:
            name, what = self._identity.name, lifecycle.describe(error)
            logger.error("runner %s: each claim is refused, of whatever job: %s", name, what)
        return _REST if are_many else 0.0

    def _accepted(self, jobs: list[Claimed]) -> None:
        """Claim more at once again; what had been refused is refused no more."""
        if jobs:
            self._in_a_row = 0
        self._most = min(MOST_CLAIMED, self._most * _FEWER)
        self.accepted_now += [job.id for job in jobs if self._set_aside.pop(job.id, None)]

    def forget_refusals(self, connection: Connection) -> None:
        """Delete the notes of jobs that were refused and have been claimed since."""
        accepted, self.accepted_now = self.accepted_now, []
        lifecycle.forget_refusals(connection, "claim", accepted)

    def claim_all(self, connection: Connection, wishes: list[Wish]) -> list[lifecycle.Brought]:
        """What each wish brought. Touches nothing but the connection: another thread's work."""
        if len(wishes) == 1:
            # A pipeline costs a tenth of a millisecond where there is nothing to put in it.
            return [self.claim(connection, wishes[0]).read()]
        with connection.pipeline():
            replies = [self.claim(connection, wish) for wish in wishes]
        return [reply.read() for reply in replies]

    def hand_out(self, brought: lifecycle.Brought, revoked: int) -> None:
        """Give each job to the slots of its kind.

        `revoked`: what the board said before the claim was sent.
        """
        jobs = brought.jobs
        if self._set_aside or self._most < MOST_CLAIMED:
            self._accepted(jobs)
        if not jobs:
            return
        self._lanes.claimed(brought.reached)
        self._recorder.opened(jobs[0].claim, [job.id for job in jobs])
        plain: list[Claimed] = []
        asynchronous: list[Claimed] = []
        queues, mixed = set(), set()
        now = time.monotonic()
        for job in jobs:
            job.revoked, job.handed_at = revoked, now
            queues.add(job.queue_name)
            if self._runs_async(job.task):
                job.is_async = True
                asynchronous.append(job)
            else:
                mixed.add(job.queue_name)
                plain.append(job)
        for queue_name in queues:
            self._demand.saw(queue_name, only_async=queue_name not in mixed)
        if plain:
            self._slots.add(plain)
        if asynchronous:
            # A claim for the thread slots may bring more async jobs than there is room for.
            room = max(0, self._coroutines.count - self._coroutines.in_hand)
            self._coroutines.add(asynchronous[:room])
            self._recorder.release(asynchronous[room:])

    def _runs_async(self, task: str) -> bool:
        known = self._is_async.get(task)
        if known is None:
            try:
                known = self._is_async[task] = resolve(task).is_async
            except BaseException:
                # Importing its module may raise anything. Told when it runs, on the job itself.
                return False
        return known


def _async_queues() -> set[str]:
    """Queues whose known tasks are all async: a guess until jobs were seen, so that the first
    of them does not wait behind a long function."""
    kinds: dict[str, set[bool]] = {}
    for task in registered().values():
        kinds.setdefault(configured(task).queue_name, set()).add(task.is_async)
    return {queue_name for queue_name, seen in kinds.items() if seen == {True}}
