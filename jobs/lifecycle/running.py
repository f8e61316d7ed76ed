"""What is told and heard of a job while it runs; its state stays as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import psycopg

from .claim import Claimed
from .statements import statement


class Told(NamedTuple):
    """What a task last said of its progress."""

    job: Claimed
    done: float
    total: float | None
    message: str


def write_progress(connection: psycopg.Connection[Any], told: Sequence[Told]) -> None:
    """Write what running tasks told, on the runner's own connection: seen at once."""
    connection.execute(
        statement("progress"),
        {
            "ids": [one.job.id for one in told],
            "claims": [one.job.claim for one in told],
            "done": [one.done for one in told],
            "total": [one.total for one in told],
            "messages": [one.message for one in told],
        },
    )


class Logged(NamedTuple):
    """What an attempt has logged."""

    job: Claimed
    lines: int
    text: str


def write_logs(connection: psycopg.Connection[Any], logged: Sequence[Logged]) -> None:
    """Write what attempts have logged so far, in place of what they had before."""
    connection.execute(
        statement("log"),
        {
            "ids": [one.job.id for one in logged],
            "claims": [one.job.claim for one in logged],
            "lines": [one.lines for one in logged],
            "texts": [one.text for one in logged],
        },
    )


def forget_logs(connection: psycopg.Connection[Any], jobs: Sequence[Claimed]) -> None:
    """Delete what these attempts have logged."""
    connection.execute(
        statement("forget_logs"),
        {"ids": [job.id for job in jobs], "attempts": [job.attempt for job in jobs]},
    )


def silenced(connection: psycopg.Connection[Any]) -> set[tuple[str, str]]:
    """(task, kind) of the failures of which no alarm is to tell."""
    return set(connection.execute(statement("silenced")).fetchall())


def cancel_requests(connection: psycopg.Connection[Any], claims: Iterable[str]) -> list[str]:
    """The ids of running jobs under these claims that are to be cancelled."""
    rows = connection.execute(statement("cancel_requests"), {"claims": list(claims)}).fetchall()
    return [row[0] for row in rows]
