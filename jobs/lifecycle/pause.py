"""Pause and resume a queue, or a task: its jobs are not claimed; running ones go on.

A paused task's due jobs stand in the way of others in their lanes, so supervisors put them off
(`park`), and put them back when the pause is over.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import psycopg
from django.db import transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from jobs import conf
from jobs.bounds import check_moment, check_text
from jobs.models import PausedTask, Queue

from .claim import look
from .failures import is_refused
from .refusals import note_refusal
from .statements import statement
from .wake import wake_queue

# A pause without an end puts its jobs off for so long: longer than anybody pauses.
_LONG = timedelta(days=36_525)
# So many jobs are put off, or back, at a time: some milliseconds.
PART = 2_000
# After a refusal, so many times fewer, until the refused job is alone; so many of those in a part.
_FEWER, _MOST_REFUSED = 8, 100


def pause(
    queue_name: str,
    *,
    by: str = "",
    because: str = "",
    until: datetime | Combinable | None = None,
) -> None:
    """Claim nothing from the queue any more, until then, or until it is resumed.

    Raises TypeError or ValueError for a moment out of bounds, and for texts that PostgreSQL cannot
    keep.
    """
    check_text(queue_name, "the queue", 128)
    _check(by, because, until)
    Queue.objects.using(conf.settings().database).update_or_create(
        name=queue_name,
        defaults={
            "paused_at": Now(),
            "paused_by": by,
            "paused_because": because,
            "paused_until": until,
        },
    )


def resume(queue_name: str) -> None:
    """Claim from the queue again."""
    alias = conf.settings().database
    with transaction.atomic(using=alias, savepoint=False):
        Queue.objects.using(alias).filter(name=queue_name).update(
            paused_at=None, paused_by="", paused_because="", paused_until=None
        )
        wake_queue(queue_name, using=alias)


def pause_task(
    name: str, *, by: str = "", because: str = "", until: datetime | Combinable | None = None
) -> PausedTask:
    """Claim no job of the task any more, in any queue, until then, or until it is resumed.

    Raises TypeError or ValueError for a moment out of bounds, and for texts that PostgreSQL cannot
    keep.
    """
    check_text(name, "the task", 255)
    _check(by, because, until)
    said = {
        "paused_at": Now(),
        "paused_by": by,
        "paused_because": because,
        "paused_until": until,
        "over_seen_at": None,
    }
    # A moment of its own: a job that is scheduled for the very end of the pause is not parked.
    apart = timedelta(microseconds=random.randrange(1, 1_000_000))  # noqa: S311
    parked_until = (Now() + _LONG if until is None else until) + apart
    rows = PausedTask.objects.using(conf.settings().database)
    rows.update_or_create(
        name=name,
        # What an earlier pause has put off must still be known.
        defaults=said
        | {
            "parked_until": Case(
                When(parked_until__gt=Now(), then=F("parked_until")), default=parked_until
            )
        },
        create_defaults=said | {"parked_until": parked_until},
    )
    return rows.get(pk=name)


def _check(by: str, because: str, until: datetime | Combinable | None) -> None:
    check_text(by, "by", 255)
    check_text(because, "because")
    if isinstance(until, datetime):
        check_moment(until, "until")


def resume_task(name: str) -> bool:
    """Claim its jobs again; what was put off comes back by and by, in its order. Whether it was
    paused."""
    rows = PausedTask.objects.using(conf.settings().database).filter(name=name)
    held = rows.filter(Q(paused_until__isnull=True) | Q(paused_until__gt=Now()))
    return bool(held.update(paused_until=Now(), paused_because=Value("")))


def park(connection: psycopg.Connection[Any]) -> int:
    """Put off due jobs of paused tasks, put back those of tasks that are resumed, forget pauses
    that are over: a part at a time. Returns how many jobs; fewer than PART: that was all."""
    connection.execute(statement("renew_pauses"))
    lanes = look(connection).first
    parameters = {
        "queues": [lane.queue_name for lane in lanes],
        "priorities": [lane.priority for lane in lanes],
        "limit": PART,
        "notify": conf.settings().listen,
    }
    try:
        [(parked,)] = connection.execute(statement("park"), parameters).fetchall()
    except Exception as error:
        if not is_refused(error, connection):
            raise
        # Claims pass over what stays.
        parked = 0
    unparked = _unpark(connection, parameters)
    if not unparked:
        connection.execute(statement("note_over"))
        connection.execute(statement("forget_pauses"))
    most: int = max(parked, unparked)
    return most


def _unpark(connection: psycopg.Connection[Any], parameters: dict[str, Any]) -> int:
    """Put back a part; what is refused stays put off, and keeps no other. Returns how many."""
    limit, set_aside = PART, list[str]()
    unparked: int = 0
    while True:
        part = parameters | {"limit": limit, "set_aside": set_aside, "only_look": False}
        try:
            [(count, _, _)] = connection.execute(statement("unpark"), part).fetchall()
        except Exception as error:
            if not is_refused(error, connection) or len(set_aside) >= _MOST_REFUSED:
                raise
            if limit > 1:
                limit = max(1, limit // _FEWER)
                continue
            part["only_look"] = True
            [(_, _, job)] = connection.execute(statement("unpark"), part).fetchall()
            if job is None:
                return unparked
            note_refusal(connection, "claim", job, error, by="supervisor")
            set_aside.append(job)
            limit = PART
            continue
        unparked += count
        if count < limit or unparked >= PART:
            return unparked
