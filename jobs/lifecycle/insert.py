"""Insert: nothing → queued, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from jobs import conf

from . import arrays
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


def insert(
    draft: Draft, ids: Sequence[UUID], arguments: Sequence[str], *, using: str = ""
) -> Inserted:
    """Insert a job for each id, in one statement of the caller's transaction.

    It runs on the jobs' database (or `using`), so it is the caller's transaction only where that
    is the database of the caller's data, too.
    """
    settings = conf.settings()
    parameters: dict[str, Any] = {
        "ids": arrays.of_ids([f"{id_.int:032x}" for id_ in ids]),
        "arguments": arrays.of_texts(arguments),
        "task": draft.task,
        "queue_name": draft.queue_name,
        "priority": draft.priority,
        "metadata": draft.metadata,
        "run_at": draft.run_at,
        # Durations are numbers where each call has one: psycopg takes its time for timedeltas.
        "delay": draft.delay.total_seconds(),
        "expires_after": draft.expires_after,
        "timeout": draft.timeout,
        "max_attempts": draft.max_attempts,
        "max_losses": draft.max_losses,
        "schedule_id": draft.schedule_id,
        "tick": draft.tick,
        "notify": settings.listen,
        "horizon": settings.poll_interval.total_seconds(),
    }
    run_at, expires_at, enqueued_at, _ = _execute(
        connections[using or settings.database], parameters
    )
    return Inserted(
        _moment(run_at), None if expires_at is None else _moment(expires_at), _moment(enqueued_at)
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _execute(wrapper: BaseDatabaseWrapper, parameters: dict[str, Any]) -> Any:
    """Prepared, once a connection has seen a few: planning takes as long as inserting a row."""
    # As Django's own cursor() does first.
    wrapper.close_if_health_check_failed()
    if _may_prepare(wrapper):
        try:
            return _execute_prepared(wrapper, parameters)
        except psycopg.errors.InvalidSqlStatementName:
            # Somebody has deallocated it (DISCARD ALL), or it is another session's, behind a
            # pooler of which nobody has told.
            _inserts[wrapper.connection] = _NEVER
            if wrapper.in_atomic_block:
                raise
    with wrapper.cursor() as cursor:
        cursor.execute(statement("insert"), parameters)
        return cursor.fetchone()


def _execute_prepared(wrapper: BaseDatabaseWrapper, parameters: dict[str, Any]) -> Any:
    """What Django's own cursor does around a statement, without what it does for others."""
    wrapper.validate_thread_sharing()
    wrapper.validate_no_broken_transaction()
    raw = wrapper.connection
    # Django switches it off, for its own statements; None wins over prepare=True.
    before, raw.prepare_threshold = raw.prepare_threshold, 0
    try:
        return psycopg.Cursor(raw).execute(statement("insert"), parameters).fetchone()
    except psycopg.errors.InvalidSqlStatementName:
        raise
    except psycopg.Error:
        with wrapper.wrap_database_errors:
            raise
    finally:
        raw.prepare_threshold = before


def _may_prepare(wrapper: BaseDatabaseWrapper) -> bool:
    """Not where somebody listens to queries or changes what a cursor does; not behind a pooler,
    where prepared statements are another client's; and not at first, when they cost a round
    trip more, which a connection of one request would pay in vain."""
    raw = wrapper.connection
    if (
        not isinstance(raw, psycopg.Connection)
        or wrapper.execute_wrappers
        or wrapper.queries_logged
        or not _is_djangos_own(wrapper)
        or wrapper.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS")
        or conf.settings().transaction_pooling
    ):
        return False
    seen = _inserts.get(raw, 0)
    _inserts[raw] = seen + 1
    return seen >= _PREPARE_AFTER


def _is_djangos_own(wrapper: BaseDatabaseWrapper) -> bool:
    """Neither a backend nor a test has put its own method in the place of Django's."""
    kind = type(wrapper)
    return (
        kind.cursor is BaseDatabaseWrapper.cursor
        and kind._cursor is BaseDatabaseWrapper._cursor  # type: ignore[attr-defined]
        and vars(wrapper).keys().isdisjoint(_CURSORS)
    )


_CURSORS = {"cursor", "_cursor", "create_cursor", "connect"}
# As psycopg has it where Django does not say otherwise.
_PREPARE_AFTER = 5
_NEVER = -1_000_000_000
_inserts: WeakKeyDictionary[psycopg.Connection[Any], int] = WeakKeyDictionary()
