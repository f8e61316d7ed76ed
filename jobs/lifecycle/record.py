"""Record: running → whatever an Outcome says, in batches, fenced by the claim."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, assert_never

import psycopg

from jobs import conf, frames
from jobs.outcomes import (
    REFUSED,
    Cancelled,
    Committed,
    Failed,
    Outcome,
    Problem,
    Released,
    Retried,
    Snoozed,
    Succeeded,
    TakenOver,
)

from . import arrays, follow
from .claim import Claimed
from .failures import is_about_values, is_refused
from .follow import Ending
from .statements import statement

logger = logging.getLogger("jobs")

# Both in seconds. A locked row is waited for so long where its job's end is a part of
# the task's transaction, and looked at so often.
_HELD, _LOOK_AGAIN = 2.0, 0.02
# Outcomes that need no record any more.
_WRITTEN = (Committed, TakenOver)

_UNRECORDABLE = Problem(
    "jobs.errors.NotStorable",
    "PostgreSQL refused to keep how this attempt ended; the worker's log has the details.",
    "",
)


class Ended(NamedTuple):
    """An attempt and how it ended."""

    job: Claimed
    outcome: Outcome


class Unrecorded(NamedTuple):
    """What a record could not write."""

    # Locked by somebody: to be recorded again.
    later: list[Ended]
    # Another attempt holds them by now, or they were deleted: nothing more to do.
    lost: list[Ended]


class Sent(NamedTuple):
    """A record that was sent; `recorded()` reads its reply, after the pipeline's end."""

    cursors: list[psycopg.Cursor[Any]]

    def recorded(self) -> set[str]:
        return {row[0] for cursor in self.cursors for row in cursor.fetchall()}


def record(
    connection: psycopg.Connection[Any], batch: Sequence[Ended], *, alone: bool = False
) -> Sent:
    """Send the statements that write a batch; what they return is what was written.

    In a pipeline they share its transaction. `unrecorded` tells what the rest has come to.
    Committed and TakenOver have nothing left to write. `alone`: and nothing follows.
    """
    succeeded: list[Ended] = []
    settled: list[tuple[Ended, tuple[Any, ...]]] = []
    followed: dict[str, bool] = {}
    for ended in batch:
        if type(ended.outcome) is Succeeded:
            task = ended.job.task
            if task not in followed:
                followed[task] = not alone and bool(follow.of(task))
            if followed[task]:
                settled.append((ended, _row(ended.outcome)))
            else:
                succeeded.append(ended)
        elif type(ended.outcome) not in _WRITTEN:
            settled.append((ended, _row(ended.outcome)))
    cursors = []
    if succeeded:
        cursors.append(_succeed(connection, succeeded))
    if settled:
        cursors.append(_settle(connection, settled, alone=alone))
    return Sent(cursors)


def unrecorded(connection: psycopg.Connection[Any], missing: Sequence[Ended]) -> Unrecorded:
    """Sort what a record did not return by reading the rows back.

    A row that carries the own claim and has ended was written by an earlier record whose
    reply was lost: it is in neither list.
    """
    rows = connection.execute(
        statement("read_back"), {"ids": [ended.job.id for ended in missing]}
    ).fetchall()
    now = {id_: (claim, running) for id_, claim, running in rows}
    later, lost = [], []
    for ended in missing:
        claim, running = now.get(ended.job.id, (None, False))
        if claim != ended.job.claim:
            lost.append(ended)
        elif running:
            later.append(ended)
    return Unrecorded(later, lost)


class Instead(NamedTuple):
    """What was recorded in the place of an outcome that was refused."""

    ended: Ended
    # False: it is another claim's by now, or locked.
    is_written: bool
    # Whether nothing but what follows the job is missing.
    lacks_followers_only: bool = False


def record_refused(
    connection: psycopg.Connection[Any], ended: Ended, error: BaseException, *, give_up: bool
) -> Instead:
    """Record an outcome that was refused, leaving out as little as PostgreSQL accepts.

    In this order, each in a transaction of its own: without what follows it; as a failure with
    that message, if the values are at fault; without the row of its attempt; the bare state, if it
    is final; and with `give_up` the bare state of a failure. Raise the last error if all of these
    are refused.
    """
    job = ended.job
    unrecordable = Ended(job, Failed(_UNRECORDABLE, REFUSED))
    ways: list[tuple[Ended, Callable[[Ended], bool]]] = []
    has_followers = bool(follow.of(job.task))
    if has_followers:
        ways.append((ended, lambda one: bool(record(connection, [one], alone=True).recorded())))
    if is_about_values(error):
        ways.append(
            (unrecordable, lambda one: bool(record(connection, [one], alone=True).recorded()))
        )
        ways.append((unrecordable, lambda one: _settle_bare(connection, one)))
    else:
        ways.append((ended, lambda one: _settle_bare(connection, one, whole=True)))
        if not isinstance(ended.outcome, Retried):
            # A retry that is not counted would be repeated for ever.
            ways.append((ended, lambda one: _settle_bare(connection, one)))
        if give_up:
            ways.append((unrecordable, lambda one: _settle_bare(connection, one)))
    last: Exception | None = None
    for i, (instead, write) in enumerate(ways):
        try:
            with connection.transaction():
                is_written = write(instead)
            return Instead(instead, is_written, has_followers and i == 0)
        except Exception as failure:
            if not is_refused(failure, connection):
                raise
            last = failure
    assert last is not None
    raise last


def _settle_bare(connection: psycopg.Connection[Any], ended: Ended, *, whole: bool = False) -> bool:
    """Write the state alone, or `whole`: with the count of failures and the result."""
    state, reason, _, delay, failed, *_, result = _row(ended.outcome)
    parameters = {
        "id": ended.job.id,
        "claim": ended.job.claim,
        "state": state,
        "reason": reason or REFUSED,
        "delay": delay,
        "failed": failed if whole else 0,
        "result": result if whole else None,
    }
    return connection.execute(statement("settle_bare"), parameters).fetchone() is not None


def commit_finish(connection: psycopg.Connection[Any], job: Claimed, result: str | None) -> bool:
    """Write a success inside the task's own transaction.

    `connection` is the task's, so the work, its finish and what follows it commit together. Returns
    False if the claim is another's by now, or if the row was locked for too long: the caller
    rolls back, and in the second case the job runs again.
    """
    parameters = {
        "id": job.id,
        "claim": job.claim,
        "result": result,
        "started": job.started_at,
        "finished": job.finished_at,
    }
    until = time.monotonic() + _HELD
    # Not the connection's own cursor: Django's binds on the client, and knows other types.
    cursor = psycopg.Cursor(connection)
    while not cursor.execute(statement("commit_finish"), parameters, prepare=False).fetchone():
        row = cursor.execute(statement("read_back"), {"ids": [job.id]}, prepare=False).fetchone()
        is_own = row is not None and str(row[1]) == job.claim and row[2]
        if not is_own or time.monotonic() >= until:
            return False
        time.sleep(_LOOK_AGAIN)
    follow.follow(connection, [Ending(job.id, job.task, "succeeded")])
    return True


def forget_claims(connection: psycopg.Connection[Any], claims: Iterable[str]) -> None:
    """Delete the rows of claims whose jobs are all recorded."""
    connection.execute(statement("forget_claims"), {"claims": list(claims)})


def _succeed(connection: psycopg.Connection[Any], batch: Sequence[Ended]) -> psycopg.Cursor[Any]:
    return connection.execute(
        statement("succeed"),
        {
            "ids": arrays.of_ids([ended.job.id for ended in batch]),
            "claims": arrays.of_ids([ended.job.claim for ended in batch]),
            "results": arrays.of_texts(
                [ended.outcome.result for ended in batch]  # type: ignore[union-attr]
            ),
            "started": arrays.of_moments([ended.job.started_at for ended in batch]),
            "finished": arrays.of_moments([ended.job.finished_at for ended in batch]),
        },
    )


def _settle(
    connection: psycopg.Connection[Any],
    batch: Sequence[tuple[Ended, tuple[Any, ...]]],
    *,
    alone: bool,
) -> psycopg.Cursor[Any]:
    columns = list(zip(*(row for _, row in batch), strict=True))
    names = ("states", "reasons", "outcomes", "delays", "failed")
    texts = ("exceptions", "messages", "tracebacks", "kinds", "results")
    parameters: dict[str, Any] = {
        name: list(column) for name, column in zip(names + texts, columns, strict=True)
    }
    jobs = [ended.job for ended, _ in batch]
    parameters |= {
        "ids": [job.id for job in jobs],
        "claims": [job.claim for job in jobs],
        "started": [job.started_at for job in jobs],
        "finished": [job.finished_at for job in jobs],
        "followers": follow.as_json(
            one
            for task in dict.fromkeys(job.task for job in jobs if not alone)
            for one in follow.of(task)
        ),
        "notify": conf.settings().listen,
    }
    return connection.execute(statement("settle"), parameters)


def _row(outcome: Outcome) -> tuple[Any, ...]:
    """(state, reason, attempt's outcome, delay, failed, exception, message, traceback, kind,
    result)"""
    match outcome:
        case Succeeded(result):
            return ("succeeded", "", "", 0.0, 0, *_NO_TEXTS, result)
        case Failed(problem, reason):
            return ("failed", reason, "failed", 0.0, 1, *_texts(problem), None)
        case Retried(problem, delay, reason):
            return ("queued", reason, "retried", delay.total_seconds(), 1, *_texts(problem), None)
        case Snoozed(delay):
            return ("queued", "", "snoozed", delay.total_seconds(), 0, *_NO_TEXTS, None)
        case Cancelled(problem, reason):
            return ("cancelled", reason, "cancelled", 0.0, 0, *_texts(problem), None)
        case Released(delay):
            return ("queued", "", "", delay.total_seconds(), 0, *_NO_TEXTS, None)
        case Committed() | TakenOver():
            raise ValueError(f"{outcome} is not settled")
        case _:
            assert_never(outcome)


_NO_TEXTS = ("", "", "", "")


def _texts(problem: Problem) -> tuple[str, str, str, str]:
    return problem.exception_class, problem.message, problem.traceback, kind_of(problem)


def kind_of(problem: Problem) -> str:
    """What failures of its kind have in common (see jobs.frames)."""
    return frames.fingerprint(problem.exception_class, problem.traceback)
