"""How one worker was asked to run."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from jobs import ids

from .recycling import Limits


def default_name() -> str:
    return f"{socket.gethostname()[:80]}-{os.getpid()}"


def cores() -> int:
    """The cores that this process may use, which in a container are fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`queues` None: all but the excluded."""

    name: str = field(default_factory=default_name)
    queues: tuple[str, ...] | None = None
    excluded_queues: tuple[str, ...] = ()
    processes: int = field(default_factory=cores)
    threads: int = 1
    coroutines: int = 100
    grace_period: timedelta = timedelta(seconds=30)
    # Once told to stop, wait for running jobs without a limit.
    drain: bool = False
    # At least and at most so many processes, by what waits for them.
    autoscale: tuple[int, int] | None = None
    # When a runner lets a new one take its place.
    limits: Limits = field(default_factory=Limits)
    # Begin anew when the site's code has changed.
    reload: bool = False
    # Stop once nothing is ready any more.
    burst: bool = False
    # Serve the schedules, too.
    beat: bool = False

    def serves(self, queue_name: str) -> bool:
        if queue_name in self.excluded_queues:
            return False
        return self.queues is None or queue_name in self.queues


@dataclass(frozen=True, slots=True)
class Identity:
    """Who claims: the registered worker, and this life of one of its runners."""

    worker_id: UUID
    # What stands on a job: the worker's name and the runner's number.
    name: str
    runner: UUID = field(default_factory=ids.uuid7)
