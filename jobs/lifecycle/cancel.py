"""Cancel: waiting or queued → cancelled at once; a running job's runner is told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from jobs.models import Job, State

from .follow import Ending, follow
from .statements import statement


def cancel(job: Job[Any], *, by: str = "", because: str = "") -> bool:
    """Cancel the job, or ask its runner to; False when it had already ended.

    In the caller's transaction; `job` is read anew.
    """
    alias = job._state.db or DEFAULT_DB_ALIAS
    with transaction.atomic(using=alias, savepoint=False):
        with connections[alias].cursor() as cursor:
            cursor.execute(statement("cancel"), _parameters([str(job.pk)], by, because))
            rows = cursor.fetchall()
        with connections[alias].wrap_database_errors:
            _follow(connections[alias].connection, rows)
    job.refresh_from_db()
    return bool(rows)


def cancel_these(
    connection: psycopg.Connection[Any], ids: Collection[str], *, because: str
) -> None:
    """The same for several jobs, over a connection of the worker's kind, in a transaction."""
    _follow(connection, connection.execute(statement("cancel"), _parameters(ids, "", because)))


def _follow(connection: psycopg.Connection[Any], rows: Iterable[Sequence[Any]]) -> None:
    """Of those that run on, their runners will write the end."""
    ended = [Ending(*row) for row in rows]
    follow(connection, [one for one in ended if one.state != State.RUNNING])


def _parameters(ids: Collection[str], by: str, because: str) -> dict[str, Any]:
    return {"ids": list(ids), "by": by or None, "because": because or None}
