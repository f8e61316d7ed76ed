"""Cancel: waiting or queued → cancelled at once; a running job's runner is told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

from jobs.bounds import check_text
from jobs.models import Job, State

from .follow import Ending, follow
from .several import locked
from .statements import statement


def cancel(job: Job[Any], *, by: str = "", because: str = "") -> bool:
    """Cancel the job, or ask its runner to; False when it had already ended.

    In the caller's transaction; `job` is refreshed. Raises TypeError or ValueError for texts that
    PostgreSQL cannot keep.
    """
    done = cancel_these([job.pk], by=by, because=because, using=job._state.db or DEFAULT_DB_ALIAS)
    job.refresh_from_db()
    return bool(done)


def cancel_these(
    ids: Collection[UUID], *, by: str = "", because: str = "", using: str
) -> list[UUID]:
    """The same for several, in the caller's transaction; those that had not ended."""
    check_text(by, "by", 255)
    check_text(because, "because")
    with locked(ids, (State.WAITING, State.QUEUED, State.RUNNING), using) as (_, found):
        with connections[using].cursor() as cursor:
            parameters = _parameters([str(id_) for id_ in found], by, because)
            cursor.execute(statement("cancel"), parameters)
            rows = cursor.fetchall()
        with connections[using].wrap_database_errors:
            _follow(connections[using].connection, rows)
        return found


def cancel_on(connection: psycopg.Connection[Any], ids: Collection[str], *, because: str) -> None:
    """The same, over a connection of the worker's kind, in a transaction."""
    _follow(connection, connection.execute(statement("cancel"), _parameters(ids, "", because)))


def _follow(connection: psycopg.Connection[Any], rows: Iterable[Sequence[Any]]) -> None:
    """Of those that run on, their runners will write the end."""
    ended = [Ending(*row) for row in rows]
    follow(connection, [one for one in ended if one.state != State.RUNNING])


def _parameters(ids: Collection[str], by: str, because: str) -> dict[str, Any]:
    return {"ids": list(ids), "by": by or None, "because": because or None}
