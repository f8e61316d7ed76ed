"""What the dispatcher claims: from which lanes, how many jobs, and for which slots."""

from __future__ import annotations

import time
from typing import Any

import psycopg

from jobs import ids, lifecycle
from jobs.lifecycle import Claimed, Lane
from jobs.tasks import configured, registered, resolve

from . import presence
from .coroutines import CoroutineSlots
from .demand import MOST_CLAIMED, Demand
from .options import Identity, Options
from .recorder import Recorder
from .slots import ThreadSlots

Connection = psycopg.Connection[Any]

# All in seconds. A line that stands still for so long is given back: another worker may be idle.
STANDSTILL = 0.1
# Beyond this, claiming stops until recording has caught up.
MOST_UNRECORDED = 10_000
# A look costs at most a twentieth of the time, and is at most this old, in seconds.
_LOOK_AGAIN = 0.1
_LOOK_SHARE = 20

# From which lanes, and how many at most.
Wish = tuple[list[Lane], int]


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
        # When the first job of each lane is due.
        self._lanes: dict[Lane, float] = {}
        self._queues_noted: set[str] = set()
        self._looked_at = 0.0
        self._look_took = 0.0
        for queue_name in _async_queues():
            demand.saw(queue_name, only_async=True)

    def wishes(self, connection: Connection, now: float, *, look: bool) -> list[Wish]:
        """One for the thread slots and one for the coroutines, where there is room and work.

        `look`: bring the lanes up to date however old they are.
        """
        if self._recorder.backlog > MOST_UNRECORDED:
            return []
        threads, coroutines = self._room()
        if threads <= 0 and coroutines <= 0:
            return []
        age = now - self._looked_at
        if look or age >= max(_LOOK_AGAIN, _LOOK_SHARE * self._look_took):
            self._look(connection)
            # What came due while it looked counts, too.
            now = self._looked_at
        due = [lane for lane, due_at in self._lanes.items() if due_at <= now]
        plain, asynchronous = self._demand.split(due)
        wishes = []
        if plain and threads > 0:
            wishes.append((plain, min(threads, MOST_CLAIMED)))
        if asynchronous and coroutines > 0:
            wishes.append((asynchronous, min(coroutines, MOST_CLAIMED)))
        return wishes

    @property
    def has_room(self) -> bool:
        """Whether a job that came now could be claimed. Coroutines count once async tasks were
        seen: else every runner with a long function would ask to be notified in vain."""
        threads, coroutines = self._room()
        return threads > 0 or (coroutines > 0 and self._demand.knows_async)

    def _room(self) -> tuple[int, int]:
        target = self._demand.target
        threads = target - self._slots.in_hand
        # Half of a large prefetch at a time, for the same reason that one buys by the dozen.
        threads = threads if threads * 2 >= target else 0
        if self._coroutines.stood_still(time.monotonic()) > STANDSTILL:
            return threads, 0
        return threads, self._coroutines.count - self._coroutines.in_hand

    def _look(self, connection: Connection) -> None:
        started = time.monotonic()
        lanes = lifecycle.look(connection)
        self._looked_at = time.monotonic()
        self._look_took = self._looked_at - started
        new = {lane.queue_name for lane in lanes} - self._queues_noted
        if new:
            presence.note_queues(connection, new)
            self._queues_noted |= new
        self._lanes = {
            lane: self._looked_at + due_in
            for lane, due_in in lanes.items()
            if self._options.serves(lane.queue_name)
        }

    def is_due(self, now: float) -> bool:
        """Whether the last look saw a job that is due."""
        return any(due_at <= now for due_at in self._lanes.values())

    def next_due_in(self, now: float) -> float | None:
        """The seconds until the next job is due that was not when it was looked."""
        coming = [due_at - now for due_at in self._lanes.values() if due_at > now]
        return min(coming, default=None)

    def claim(self, connection: Connection, wish: Wish) -> lifecycle.Reply:
        lanes, limit = wish
        return lifecycle.claim(
            connection,
            lanes,
            limit,
            claim_id=ids.uuid7(),
            worker=self._identity.name,
            worker_id=self._identity.worker_id,
            runner=self._identity.runner,
        )

    def hand_out(self, jobs: list[Claimed]) -> int:
        """Give each job to the slots of its kind; how many there were."""
        if not jobs:
            return 0
        self._recorder.opened(jobs[0].claim, len(jobs))
        plain: list[Claimed] = []
        asynchronous: list[Claimed] = []
        for job in jobs:
            job.is_async = _is_async(job.task)
            (asynchronous if job.is_async else plain).append(job)
        mixed = {job.queue_name for job in plain}
        for queue_name in {job.queue_name for job in jobs}:
            self._demand.saw(queue_name, only_async=queue_name not in mixed)
        if plain:
            self._slots.add(plain)
        if asynchronous:
            # A claim for the thread slots may bring more async jobs than there is room for.
            room = max(0, self._coroutines.count - self._coroutines.in_hand)
            self._coroutines.add(asynchronous[:room])
            self._recorder.release(asynchronous[room:])
        return len(jobs)


def _async_queues() -> set[str]:
    """Queues whose known tasks are all async: a guess until jobs were seen, so that the first
    of them does not wait behind a long function."""
    kinds: dict[str, set[bool]] = {}
    for task in registered().values():
        kinds.setdefault(configured(task).queue_name, set()).add(task.is_async)
    return {queue_name for queue_name, seen in kinds.items() if seen == {True}}


def _is_async(task: str) -> bool:
    try:
        return resolve(task).is_async
    except BaseException:
        # Importing its module may raise anything. Told when it runs, on the job itself.
        return False
