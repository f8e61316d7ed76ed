"""Follow: the end of a job → other jobs queued, in the transaction that writes that end.

What follows a task's jobs is the desk's to say, above, and it is told here who says it
(`said_by`), since imports only go down. It is asked whenever jobs end, and whatever it does not
know follows nothing: that a job has ended is written in any case.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import psycopg

from jobs import codec, conf

from .failures import describe, is_gone, is_transient
from .insert import Draft
from .statements import statement

logger = logging.getLogger("jobs")

# In the metadata of a job that follows another: which.
FOLLOWS = "follows"


class Follower(NamedTuple):
    """A job that is to be queued once a job of the task ends in that state."""

    after: str
    state: str
    draft: Draft


class Ending(NamedTuple):
    """A job that has just ended: what its row says now."""

    id: str
    task: str
    state: str


Ask = Callable[[str], Sequence[Follower]]


def _nothing(task: str) -> Sequence[Follower]:
    return ()


_ask: Ask = _nothing


def said_by(ask: Ask) -> None:
    """From now on, `ask(name of the task)` says what follows its jobs. It never raises."""
    global _ask
    _ask = ask


def of(task: str) -> Sequence[Follower]:
    """What follows jobs of the task."""
    return _ask(task)


def as_json(followers: Iterable[Follower]) -> str:
    """As follow.sql and settle.sql read them."""
    return codec.dumps([_record(one) for one in followers])


def follow(connection: psycopg.Connection[Any], ended: Iterable[Ending]) -> None:
    """Queue what follows these, in the transaction that has ended them."""
    by_task: dict[str, Sequence[Follower]] = {}
    followed = [
        one
        for one in ended
        if any(
            follower.state == one.state for follower in by_task.setdefault(one.task, _ask(one.task))
        )
    ]
    if followed:
        _insert(connection, followed, [one for some in by_task.values() for one in some])


def _insert(
    connection: psycopg.Connection[Any], ended: Sequence[Ending], followers: Sequence[Follower]
) -> None:
    """Insert what follows them; what is refused costs no other, nor the end that it follows."""
    parameters = {
        "ids": [one.id for one in ended],
        "tasks": [one.task for one in ended],
        "states": [one.state for one in ended],
        "followers": as_json(followers),
        "notify": conf.settings().listen,
    }
    try:
        # A savepoint: what is refused must not undo the end.
        with connection.transaction():
            # Not the connection's own cursor: Django's binds on the client, and knows other types.
            psycopg.Cursor(connection).execute(statement("follow"), parameters, prepare=False)
    except psycopg.Error as error:
        if is_gone(error, connection) or is_transient(error):
            raise
        if len(ended) == 1:
            [one] = ended
            logger.error("nothing follows job %s of %s: %s", one.id, one.task, describe(error))
            return
        middle = len(ended) // 2
        _insert(connection, ended[:middle], followers)
        _insert(connection, ended[middle:], followers)


def _record(follower: Follower) -> dict[str, Any]:
    draft = follower.draft
    return {
        "after": follower.after,
        "state": follower.state,
        "task": draft.task,
        "queue_name": draft.queue_name,
        "priority": draft.priority,
        "metadata": None if draft.metadata is None else json.loads(draft.metadata),
        "delay": _seconds(draft.delay),
        "expires_after": _seconds(draft.expires_after),
        "timeout": _seconds(draft.timeout),
        "max_attempts": draft.max_attempts,
        "max_losses": draft.max_losses,
    }


def _seconds(duration: Any) -> str | None:
    return None if duration is None else f"{duration.total_seconds():.6f} seconds"
