"""Prune: jobs that have ended long ago → gone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from django.db import connections, transaction

from .statements import statement

# Before every id, and behind every id.
FIRST = "00000000-0000-0000-0000-000000000000"
LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"


class Walked(NamedTuple):
    """A job that a walk has come by. `ended_ago` in seconds; None: it has not ended."""

    id: str
    task: str
    ended_ago: float | None


def walk(
    connection: psycopg.Connection[Any], after: str, *, before: str, limit: int
) -> list[Walked]:
    """Return the next jobs behind one id and before the other, in the order of the key."""
    parameters = {"after": after, "before": before, "limit": limit}
    return [Walked(*row) for row in connection.execute(statement("finished"), parameters)]


def prune(connection: psycopg.Connection[Any], jobs: Collection[str]) -> int:
    """Delete these, if they have ended; returns how many.

    IntegrityError when a table of the site's keeps a foreign key to one of them.
    """
    return len(connection.execute(statement("prune"), {"ids": list(jobs)}).fetchall())


def delete(ids: Collection[UUID], *, using: str) -> list[UUID]:
    """The same on Django's connection, in the caller's transaction; those that are gone."""
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(statement("prune"), {"ids": [str(id_) for id_ in ids]})
        return [row[0] for row in cursor.fetchall()]
