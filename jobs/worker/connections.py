"""Django's connections in a runner: looked after following each job, without a query for it.

Django does this after each request. Walking all its wrappers costs more than a short job, so
each thread remembers those that were opened in it, and a job that opened none costs nothing.

No job fails because of a session that died while it was idle: before a job first uses a connection,
its socket shows whether the server has ended it (`_is_usable`, which Django calls).
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from psycopg.pq import TransactionStatus

logger = logging.getLogger("jobs")


# Of a session's settings, what PostgreSQL tells its client by itself whenever it changes.
_REPORTED = (
    b"TimeZone", b"DateStyle", b"IntervalStyle", b"client_encoding", b"search_path",
    b"session_authorization", b"is_superuser", b"default_transaction_read_only",
    b"standard_conforming_strings", b"application_name",
)  # fmt: skip
# So often what an idle session has sent is read.
_MOST_READ = 4
# How each session was when it was opened.
_as_opened: WeakKeyDictionary[psycopg.Connection[Any], tuple[bytes | None, ...]] = (
    WeakKeyDictionary()
)


class _Opened(threading.local):
    """The calling thread's wrappers that may have an open connection."""

    def __init__(self) -> None:
        self.wrappers: list[BaseDatabaseWrapper] = []


_opened = _Opened()


def remember() -> None:
    """From now on, note which thread opens which connection."""
    connection_created.connect(_note, dispatch_uid="jobs.worker.connections")
    for settings in connections.settings.values():
        if settings.get("OPTIONS", {}).get("pool"):
            # Read when the pool is made: it hands out no session that died in it.
            settings["CONN_HEALTH_CHECKS"] = True


def _note(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection not in _opened.wrappers:
        _opened.wrappers.append(connection)
    raw = connection.connection
    if isinstance(raw, psycopg.Connection) and not raw.closed:
        _as_opened.setdefault(raw, _settings_of(raw))
        if not connection.settings_dict["CONN_HEALTH_CHECKS"]:
            # Django asks once after each `close_if_unusable_or_obsolete`, which `tidy` calls.
            connection.health_check_enabled = True  # type: ignore[attr-defined]
            connection.is_usable = partial(_is_usable, connection)  # type: ignore[method-assign]


def _is_usable(wrapper: BaseDatabaseWrapper) -> bool:
    """In the place of Django's own, which is a query: whether the session still stands."""
    raw = wrapper.connection
    if not isinstance(raw, psycopg.Connection) or not _is_alive(raw):
        return False
    # After an error Django wants to know for certain.
    return not wrapper.errors_occurred or type(wrapper).is_usable(wrapper)


def _is_alive(raw: psycopg.Connection[Any]) -> bool:
    """Whether the server has not ended the session, as far as its socket shows; no round trip."""
    poll = select.poll()
    try:
        poll.register(raw.fileno(), select.POLLIN)
        # An idle session has nothing to say but its end: a last message, and then the end itself.
        for _ in range(_MOST_READ):
            if not poll.poll(0):
                break
            raw.pgconn.consume_input()
    except (psycopg.Error, OSError, ValueError):
        return False
    return not raw.closed


def _settings_of(raw: psycopg.Connection[Any]) -> tuple[bytes | None, ...]:
    return tuple(raw.pgconn.parameter_status(name) for name in _REPORTED)


def tidy(*, thoroughly: bool = True) -> None:
    """Close what the thread's last job left broken, in a transaction, or too old.

    `thoroughly`: also what was opened and not noted, as an interruption may have it.
    """
    if thoroughly:
        for wrapper in connections.all(initialized_only=True):
            if wrapper.connection is not None:
                _note(connection=wrapper)
    if not _opened.wrappers:
        return
    for wrapper in _opened.wrappers:
        # Asking a wrapper without one for more than this would open a connection.
        if wrapper.connection is not None:
            _look_after(wrapper)
        # With DEBUG, Django keeps every query.
        wrapper.queries_log.clear()
    _opened.wrappers = [one for one in _opened.wrappers if one.connection is not None]


def _look_after(wrapper: BaseDatabaseWrapper) -> None:
    try:
        if _is_left_open(wrapper) or _is_another(wrapper):
            _throw_away(wrapper)
        else:
            wrapper.close_if_unusable_or_obsolete()
    except Exception:
        logger.exception("connection %s could not be looked after", wrapper.alias)
        _forget(wrapper)


def _is_left_open(wrapper: BaseDatabaseWrapper) -> bool:
    """In a transaction that belongs to nobody any more, or in the middle of a query that an
    interruption has left."""
    if wrapper.in_atomic_block or not wrapper.autocommit:
        return True
    raw = wrapper.connection
    return isinstance(raw, psycopg.Connection) and (
        raw.closed or raw.info.transaction_status != TransactionStatus.IDLE
    )


def _is_another(wrapper: BaseDatabaseWrapper) -> bool:
    """Whether a SET has made another session of it, as far as that can be known for nothing."""
    raw = wrapper.connection
    return isinstance(raw, psycopg.Connection) and _as_opened.get(raw) != _settings_of(raw)


def _throw_away(wrapper: BaseDatabaseWrapper) -> None:
    """End the session and forget the wrapper, which remembers a broken block for ever."""
    raw = wrapper.connection
    if isinstance(raw, psycopg.Connection):
        if raw.info.transaction_status == TransactionStatus.ACTIVE:
            raw.cancel()
        raw.close()
        if pool := _pool_of(wrapper):
            pool.putconn(raw)
    _forget(wrapper)


def _forget(wrapper: BaseDatabaseWrapper) -> None:
    wrapper.connection = None
    # A task may have made a wrapper of its own, under any name.
    if any(one is wrapper for one in connections.all(initialized_only=True)):
        del connections[wrapper.alias]


def _pool_of(wrapper: BaseDatabaseWrapper) -> Any:
    """Django's own pool, if the site has one."""
    has_one = wrapper.vendor == "postgresql" and wrapper.settings_dict["OPTIONS"].get("pool")
    return wrapper.pool if has_one else None  # type: ignore[attr-defined]


def close_own() -> None:
    """The calling thread's, at its end."""
    for wrapper in _opened.wrappers:
        with contextlib.suppress(Exception):
            wrapper.close()
    _opened.wrappers.clear()


def close_for_forks() -> None:
    """Before the first fork: sessions, and pools of them, must not be shared with children."""
    connections.close_all()
    for wrapper in connections.all(initialized_only=True):
        if _pool_of(wrapper):
            wrapper.close_pool()  # type: ignore[attr-defined]


def forget_all(own: list[psycopg.Connection[Any]]) -> None:
    """In a forked child: let go of the parent's connections without ending its sessions."""
    for wrapper in connections.all(initialized_only=True):
        wrapper.connection = None
    _opened.wrappers.clear()
    for one in own:
        os.close(one.fileno())
