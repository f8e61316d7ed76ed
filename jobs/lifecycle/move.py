"""Move: a job that has not started → another queue, another priority."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Greatest, Now

from jobs.models import State

from .several import locked
from .wake import wake


def move(
    ids: Collection[UUID],
    *,
    queue_name: str | None = None,
    priority: int | None = None,
    using: str,
) -> list[UUID]:
    """Put waiting and queued jobs into another queue, or give them another priority, in the
    caller's transaction; those that it was true of.

    What is due stands there as due now, at the end of its new line.
    """
    changes: dict[str, Any] = {}
    if queue_name is not None:
        changes["queue_name"] = queue_name
    if priority is not None:
        changes["priority"] = priority
    with locked(ids, (State.WAITING, State.QUEUED), using) as (rows, found):
        # Runners remember how far they have come in each line: nothing comes in behind them.
        rows.update(run_at=Greatest(F("run_at"), Now()), **changes)
        wake(found, using=using)
        return found
