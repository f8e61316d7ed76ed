"""The worker's own row: that it lives, which runners it has, which of them sleep."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any
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


def heartbeat(
    connection: psycopg.Connection[Any], id_: UUID, runners: Collection[UUID], *, stopping: bool
) -> bool:
    """Say that the worker and these runners live; False: it was taken for dead."""
    cursor = connection.execute(
        _STATEMENTS["heartbeat"], {"id": id_, "runners": list(runners), "stopping": stopping}
    )
    return cursor.fetchone() is not None


def say_idle(connection: psycopg.Connection[Any], identity: Identity, *, idle: bool) -> None:
    """Ask for notifications, or say that none are needed any more."""
    connection.execute(
        _STATEMENTS["say_idle"],
        {"id": identity.worker_id, "runner": identity.runner, "idle": idle},
    )


def note_queues(connection: psycopg.Connection[Any], names: Collection[str]) -> None:
    """Give queues that were seen for the first time a row."""
    connection.execute(_STATEMENTS["note_queues"], {"names": sorted(names)})


def bury(connection: psycopg.Connection[Any], timeout: timedelta) -> list[str]:
    """Delete the rows of workers that are silent for longer; their names."""
    rows = connection.execute(_STATEMENTS["bury"], {"timeout": timeout}).fetchall()
    return [row[0] for row in rows]


def leave(connection: psycopg.Connection[Any], id_: UUID) -> None:
    """Delete the worker's row."""
    connection.execute(_STATEMENTS["leave"], {"id": id_})
