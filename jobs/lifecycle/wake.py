"""Wake: idle workers are notified of jobs that are due again, without having been inserted."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import connections

from jobs import conf

from .statements import statement


def wake(ids: Collection[UUID], *, using: str) -> None:
    """Notify idle workers, as the caller's transaction commits, of those jobs that are due."""
    settings = conf.settings()
    if not settings.listen or not ids:
        return
    parameters: dict[str, Any] = {
        "ids": [str(id_) for id_ in ids],
        "horizon": settings.poll_interval.total_seconds(),
    }
    with connections[using].cursor() as cursor:
        cursor.execute(statement("wake"), parameters)


def wake_queue(queue_name: str, *, using: str) -> None:
    """Notify idle workers that serve the queue, at the commit of the caller's transaction."""
    if not conf.settings().listen:
        return
    with connections[using].cursor() as cursor:
        cursor.execute(statement("wake_queue"), {"queue_name": queue_name})
