"""The worker's own row: that it lives, which runners it has, which of them sleep."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from jobs import __version__
from jobs.lifecycle.statements import read_all

from .options import Identity, Options

# What this version understands of the tables; raised when older workers would misread rows.
PROTOCOL = 1
_STATEMENTS = read_all(Path(__file__).parent)


def register(
    connection: psycopg.Connection[Any], id_: UUID, options: Options, runners: Collection[UUID]
) -> None:
    """Insert the worker's row; before its runners claim."""
    connection.execute(
        _STATEMENTS["register"],
        {
            "id": id_,
            "name": options.name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "protocol": PROTOCOL,
            "version": __version__,
            "queues": None if options.queues is None else list(options.queues),
            "excluded_queues": list(options.excluded_queues),
            "processes": options.processes,
            "threads": options.threads,
            "coroutines": options.coroutines,
            "runners": list(runners),
        },
    )


@dataclass(frozen=True, slots=True)
class Doing:
    """What a worker does: jobs that its slots run, attempts that have ended since its start, and of
    late in a second, seconds that a claim takes (None: there was none), bytes of memory (None:
    unknown)."""

    running: int = 0
    ended: int = 0
    pace: float = 0.0
    claim_time: float | None = None
    memory: int | None = None


class Heard(NamedTuple):
    """What a heartbeat is answered."""

    # Whether any task is paused, or was just resumed.
    has_pauses: bool


def heartbeat(
    connection: psycopg.Connection[Any],
    id_: UUID,
    runners: Collection[UUID],
    doing: Doing,
    *,
    stopping: bool,
) -> Heard | None:
    """Say that the worker and these runners live; None: it was taken for dead."""
    said = asdict(doing) | {"id": id_, "runners": list(runners), "stopping": stopping}
    row = connection.execute(_STATEMENTS["heartbeat"], said).fetchone()
    return None if row is None else Heard(*row)


def say_idle(connection: psycopg.Connection[Any], identity: Identity, *, idle: bool) -> None:
    """Ask for notifications, or say that none are needed any more."""
    connection.execute(
        _STATEMENTS["say_idle"],
        {"id": identity.worker_id, "runner": identity.runner, "idle": idle},
    )


def note_queues(connection: psycopg.Connection[Any], names: Collection[str]) -> None:
    """Give queues that were seen for the first time a row."""
    connection.execute(_STATEMENTS["note_queues"], {"names": sorted(names)})


class Others(NamedTuple):
    """The other workers' rows: their versions, and which of them are locked."""

    versions: dict[UUID, str]
    locked: set[UUID]


def others(connection: psycopg.Connection[Any], id_: UUID) -> Others:
    """Read the rows of all workers but this one."""
    rows = connection.execute(_STATEMENTS["others"], {"id": id_}).fetchall()
    versions = {UUID(worker): version for worker, version, _ in rows}
    return Others(versions, {UUID(worker) for worker, _, is_locked in rows if is_locked})


def bury(connection: psycopg.Connection[Any], dead: Mapping[UUID, str]) -> list[str]:
    """Delete the rows of dead workers that still have these versions, and note their deaths.

    Commits. Returns the names.
    """
    parameters = {"ids": list(dead), "versions": list(dead.values())}
    rows = connection.execute(_STATEMENTS["bury"], parameters).fetchall()
    for row in rows:
        # The note is for people: what is refused of it changes nothing.
        with contextlib.suppress(psycopg.DatabaseError):
            connection.execute(_STATEMENTS["note_death"], row)
    return [row[1] for row in rows]


def note_rescued(connection: psycopg.Connection[Any], worker_id: str, count: int) -> None:
    """Add to the number of jobs that were given back after a worker's death."""
    with contextlib.suppress(psycopg.DatabaseError):
        connection.execute(_STATEMENTS["note_rescued"], {"id": worker_id, "count": count})


def leave(connection: psycopg.Connection[Any], id_: UUID) -> None:
    """Delete the worker's row."""
    connection.execute(_STATEMENTS["leave"], {"id": id_})
