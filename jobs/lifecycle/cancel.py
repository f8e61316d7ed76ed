"""Cancel: waiting or queued → cancelled at once; a running job's runner is told."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import psycopg
from django.db import connections

from jobs.models import Job

from .statements import statement


def cancel(job: Job[Any], *, by: str = "", because: str = "") -> bool:
    """Cancel the job, or ask its runner to; False when it had already ended.

    In the caller's transaction; `job` is read anew.
    """
    with connections[job._state.db or "default"].cursor() as cursor:
        cursor.execute(statement("cancel"), _parameters([str(job.pk)], by, because))
        is_cancelled = cursor.fetchone() is not None
    job.refresh_from_db()
    return is_cancelled


def cancel_these(
    connection: psycopg.Connection[Any], ids: Collection[str], *, because: str
) -> None:
    """The same for several jobs, over a connection of the worker's kind."""
    connection.execute(statement("cancel"), _parameters(ids, "", because))


def _parameters(ids: Collection[str], by: str, because: str) -> dict[str, Any]:
    return {"ids": list(ids), "by": by or None, "because": because or None}
