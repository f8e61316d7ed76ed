"""Another time for the queue: PostgreSQL's clock, as the test's own connection sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DatabaseError, connections, transaction

from jobs import conf

# Functions of this schema are found before PostgreSQL's own.
_SCHEMA = "jobs_travel"
_CLOCKS = ("statement_timestamp", "transaction_timestamp", "clock_timestamp", "now")


# By database: what the clocks do while a journey lasts, the innermost last.
_journeys: dict[str, list[str]] = {}


@contextlib.contextmanager
def travel(by: timedelta | datetime, *, freeze: bool = False) -> Iterator[None]:
    """While it lasts, the jobs' database has moved on by so much, or to that moment.

    So what was delayed, retried, scheduled or is to expire is due, for `run_jobs` and `run_beat`
    and every query of this connection that asks PostgreSQL for the time (`Now()` among them).
    `freeze`: and its clock stands still, so that what is due a moment later is not. Python's own
    clock stays; other connections, a live worker's among them, do not move. Journeys inside of one
    another add up. Raises ValueError for a moment without a time zone.
    """
    wrapper = connections[conf.settings().database]
    journeys = _journeys.setdefault(wrapper.alias, [])
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp(), current_setting('search_path')")
        now, path = cursor.fetchone()
        cursor.execute("SELECT pg_catalog.statement_timestamp()")
        [real] = cursor.fetchone()
        if isinstance(by, datetime):
            if by.tzinfo is None:
                raise ValueError("travel() needs a moment that knows its time zone")
            by = by.astimezone(UTC) - now
        clock = _frozen(now + by) if freeze else _moved(now + by - real)
        is_first = not path.startswith(_SCHEMA)
        with transaction.atomic(using=wrapper.alias):
            if is_first:
                # A run that was killed, outside of a transaction, has left one.
                cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
                journeys.clear()
            _set(cursor, clock)
        journeys.append(clock)
        # What is said in a transaction ends with it, however that ends.
        is_local = wrapper.in_atomic_block
        if is_first:
            _go(cursor, f"{_SCHEMA}, pg_catalog, {path}", is_local)
    try:
        yield
    finally:
        journeys.pop()
        # In a transaction that is broken nothing can be said; but it takes all of this back.
        with contextlib.suppress(DatabaseError), wrapper.cursor() as cursor:
            if is_first:
                _go(cursor, path, is_local)
                cursor.execute(f"DROP SCHEMA {_SCHEMA} CASCADE")
            else:
                _set(cursor, journeys[-1])


def _go(cursor: Any, path: str, is_local: bool) -> None:
    cursor.execute("SELECT set_config('search_path', %s, %s)", [path, is_local])


def _moved(offset: timedelta) -> str:
    return f"pg_catalog.{{clock}}() + interval '{offset.total_seconds()} seconds'"


def _frozen(moment: datetime) -> str:
    return f"timestamptz '{moment.astimezone(UTC).isoformat()}'"


def _set(cursor: Any, expression: str) -> None:
    for clock in _CLOCKS:
        cursor.execute(
            f"CREATE OR REPLACE FUNCTION {_SCHEMA}.{clock}() RETURNS timestamptz LANGUAGE sql"
            f" STABLE AS $$ SELECT {expression.format(clock=clock)} $$"
        )
