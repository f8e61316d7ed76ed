"""What the dispatcher claims: from which lanes, how many jobs, and for which slots."""

from __future__ import annotations

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

Connection = psycopg.Connection[Any]

# All in seconds. A line that stands still for so long is given back: another worker may be idle.
STANDSTILL = 0.1
# Beyond this, claiming stops until recording has caught up.
MOST_UNRECORDED = 10_000
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
        self._queues_noted: set[str] = set()
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
                wishes.append(({lane: due[lane] for lane in lanes}, min(room, MOST_CLAIMED)))
        return wishes

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
            seen = lifecycle.glance(connection, lanes.glance_from())
            lanes.glanced(seen, began=began, now=time.monotonic())

    def _note_queues(self, connection: Connection, names: set[str]) -> None:
        new = names - self._queues_noted
        if new:
            presence.note_queues(connection, new)
            self._queues_noted |= new

    def sees_due(self, now: float) -> bool:
        """Whether the last look saw a job that is due."""
        return bool(self._lanes.due(now))

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
        )

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
