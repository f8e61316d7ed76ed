"""Insert: nothing → queued, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connections

from jobs import conf

from .statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the calls of one insertion share. `run_at` wins over `delay`."""

    task: str
    queue_name: str
    priority: int
    max_losses: int
    max_attempts: int | None = None
    run_at: datetime | None = None
    delay: timedelta = timedelta(0)
    timeout: timedelta | None = None
    # From run_at on.
    expires_after: timedelta | None = None
    # JSON, as are the arguments of each call.
    metadata: str | None = None
    schedule_id: int | None = None
    tick: datetime | None = None


@dataclass(frozen=True, slots=True)
class Inserted:
    """What the database made of a draft."""

    run_at: datetime
    expires_at: datetime | None
    enqueued_at: datetime


def insert(draft: Draft, ids: Sequence[UUID], arguments: Sequence[str]) -> Inserted:
    """Insert a job for each id, in one statement of the caller's transaction.

    It runs on the jobs' database, so it is the caller's transaction only where that is the
    database of the caller's data, too.
    """
    settings = conf.settings()
    parameters: dict[str, Any] = {
        "ids": f"{{{','.join(str(id_) for id_ in ids)}}}",
        "arguments": list(arguments),
        "task": draft.task,
        "queue_name": draft.queue_name,
        "priority": draft.priority,
        "metadata": draft.metadata,
        "run_at": draft.run_at,
        "delay": draft.delay,
        "expires_after": draft.expires_after,
        "timeout": draft.timeout,
        "max_attempts": draft.max_attempts,
        "max_losses": draft.max_losses,
        "schedule_id": draft.schedule_id,
        "tick": draft.tick,
        "notify": settings.listen,
        "horizon": settings.poll_interval,
    }
    with connections[settings.database].cursor() as cursor:
        cursor.execute(statement("insert"), parameters)
        run_at, expires_at, enqueued_at, _ = cursor.fetchone()
    return Inserted(run_at, expires_at, enqueued_at)
