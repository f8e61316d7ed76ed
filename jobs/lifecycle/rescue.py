"""Rescue: running → queued or failed, for jobs whose process died or never heard of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from jobs import conf, frames
from jobs.outcomes import Outcome

from .claim import Claimed
from .failures import is_gone, is_refused
from .follow import Ending, follow
from .record import Ended, record, record_refused
from .refusals import note_refusal
from .statements import statement

# As it is kept.
LOST_CLASS = "jobs.errors.JobLost"


class Orphan(NamedTuple):
    """A claim that nobody works on."""

    claim: str
    runner: str
    worker: str
    worker_is_gone: bool


class Rescued(NamedTuple):
    """A job that was given back: its state now, and whether it was charged with a loss."""

    id: str
    task: str
    queue_name: str
    state: str
    charged: bool


def orphans(
    connection: psycopg.Connection[Any], worker_id: UUID, runners: Collection[UUID]
) -> list[Orphan]:
    """The claims to give back: of this worker's dead runners, and of workers that are gone."""
    rows = connection.execute(
        statement("orphans"), {"worker_id": worker_id, "runners": list(runners)}
    ).fetchall()
    return [Orphan(*row) for row in rows]


def strays(connection: psycopg.Connection[Any], runner: UUID, known: Iterable[str]) -> list[str]:
    """The claims of a living runner whose replies it never got.

    Only the runner's own connection thread may ask: no claim of its is under way then.
    """
    rows = connection.execute(
        statement("strays"), {"runner": runner, "known": list(known)}
    ).fetchall()
    return [row[0] for row in rows]


def claims_of(connection: psycopg.Connection[Any], runner: UUID) -> list[str]:
    """All claims in a runner's name."""
    return strays(connection, runner, ())


def give_back(
    connection: psycopg.Connection[Any],
    claim: str,
    *,
    note: str,
    charged: bool,
    started: Collection[str] | None = None,
    keep_started: bool = False,
    only: Collection[str] | None = None,
) -> list[Rescued]:
    """Give back what the claim still holds; idempotent.

    `charged`: count a loss, for the jobs of `started`, or for all when that is unknown.
    `keep_started`: those run, and stay as they are. `only`: these jobs, None: all of the claim.
    Runs in one transaction, which commits.
    """
    # One transaction with what follows those that have ended.
    with connection.transaction():
        rows = connection.execute(
            statement("rescue"),
            {
                "claim": claim,
                "note": note,
                "charged": charged,
                "started": None if started is None else list(started),
                "keep_started": keep_started,
                "only": None if only is None else list(only),
                "exception": LOST_CLASS,
                "kind": frames.fingerprint(LOST_CLASS, ""),
                "notify": conf.settings().listen,
            },
        ).fetchall()
        rescued = [Rescued(*row[:5]) for row in rows]
        follow(connection, (Ending(one.id, one.task, one.state) for one in rescued))
        connection.execute(statement("forget_empty"), {"claim": claim})
    return rescued


def give_back_apart(
    connection: psycopg.Connection[Any],
    claim: str,
    rescue: Callable[..., list[Rescued]],
    *,
    by: str,
) -> tuple[list[Rescued], set[str]]:
    """Give back a claim's jobs one by one after a refusal: what is refused keeps no other.

    `rescue(only=[id])` gives back one. Returns what was given back, and the ids of what was
    refused, which is noted. What is locked is left for the next time. Raises if the connection is
    lost.
    """
    rescued: list[Rescued] = []
    refused: set[str] = set()
    for job in members(connection, claim):
        try:
            rescued += rescue(only=[job])
        except Exception as error:
            if is_gone(error, connection):
                raise
            if is_refused(error, connection):
                note_refusal(connection, "rescue", job, error, by=by)
                refused.add(job)
    return rescued, refused


def members(connection: psycopg.Connection[Any], claim: str) -> list[str]:
    """Return the ids of the jobs that the claim has brought, whatever they are by now."""
    return [row[0] for row in connection.execute(statement("members"), {"claim": claim})]


def adopt(connection: psycopg.Connection[Any], after: str, limit: int) -> tuple[str | None, int]:
    """Give running jobs whose claim has no row a row that no worker holds, so that the next rescue
    finds them.

    Looks at so many jobs behind the id `after`, in the order of the key. Returns the last id that
    it has looked at (None: there are no more), and how many jobs it has found.
    """
    [last, count] = connection.execute(  # type: ignore[misc]
        statement("adopt"), {"after": after, "limit": limit, "no_worker": UUID(int=0)}
    ).fetchone()
    return last, count


def end_killed(
    connection: psycopg.Connection[Any], id_: str, claim: str, started_at: float, outcome: Outcome
) -> Claimed | None:
    """Record the end of an attempt whose process had to be killed for it, on behalf of that
    process; fenced as any record. None: it was already known how it ended.

    `started_at`: on the server's clock, in seconds since the epoch; 0: unknown.
    """
    found = connection.execute(statement("task_of"), {"id": id_}).fetchone()
    if found is None:
        return None
    task, queue_name, attempt = found
    job = Claimed([id_, task, "", attempt, 0, None, queue_name, None, None, None], claim, 0.0)
    job.started_at = started_at
    ended = Ended(job, outcome)
    try:
        return job if record(connection, [ended]).recorded() else None
    except Exception as error:
        if not is_refused(error, connection):
            raise
        instead = record_refused(connection, ended, error, give_up=True)
        return job if instead.is_written else None
