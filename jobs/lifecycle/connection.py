"""Connections for the worker's statements: plans pinned, results as text, nothing else on them."""

from __future__ import annotations

import random
from typing import Any

import psycopg
from django.db import connections
from psycopg.types.string import TextLoader

from jobs import conf

from .pooled import Pooled

# The plans are the right ones at every size of the table, and with the statistics of an
# empty one; left to itself the planner flips to sequential scans of the whole table.
# Never on a connection that runs tasks.
_PINNED = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
# A row that somebody else has locked, and a network that went away, must not hold a worker.
_BOUNDED = {
    "lock_timeout": "2s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
    "default_transaction_isolation": "read committed",
    # Python's sums of moments in one zone's own time are of wall time.
    "timezone": "UTC",
}
_KEEPALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "connect_timeout": 10,
}


def connect(name: str, *, pinned: bool = True) -> psycopg.Connection[Any]:
    """A new connection to the jobs' database, in autocommit.

    `name` is shown in pg_stat_activity. psycopg.OperationalError when there is none to have.
    """
    wrapper = connections[conf.settings().database]
    params = {**_KEEPALIVE, **wrapper.get_connection_params()}
    for key in ("cursor_factory", "context", "prepare_threshold", "pool"):
        params.pop(key, None)
    role = wrapper.settings_dict["OPTIONS"].get("assume_role")
    options = _BOUNDED | (_PINNED if pinned else {}) | ({"role": role} if role else {})
    params["application_name"] = name
    connection: psycopg.Connection[Any]
    if conf.settings().transaction_pooling:
        pooled = Pooled.connect(**params, autocommit=True)
        pooled.pin(options)
        connection = pooled
    else:
        said = [f"-c {key}=" + value.replace(" ", "\\ ") for key, value in options.items()]
        params["options"] = " ".join([params.get("options", ""), *said])
        connection = psycopg.connect(**params, autocommit=True)
        connection.prepare_threshold = 0
    # As PostgreSQL writes them: ids and JSON pass through the worker without being built.
    connection.adapters.register_loader("uuid", TextLoader)
    connection.adapters.register_loader("jsonb", TextLoader)
    return connection


def pause_after(failures: int) -> float:
    """For how many seconds to wait before trying again, after so many failures in a row: ever
    longer, to 4.5 at most, and each for another while, so that not all come back at once."""
    pause: float = min(3.0, 0.05 * 2.0 ** min(failures, 8))
    return pause * (0.5 + random.random())  # noqa: S311


# SQLSTATE classes: bad data, broken constraints, limits of the server.
_REFUSALS = ("22", "23", "54")
# A server that was the primary: another is it now.
_READ_ONLY = "25006"
# Serialization and deadlock, a lock or a statement that took too long: try again as it was.
_PASSING = ("40", "55", "57014")


def is_refused(error: Exception) -> bool:
    """Whether PostgreSQL, or its driver, will never take these very values."""
    if isinstance(error, psycopg.Error):
        return (error.sqlstate or "").startswith(_REFUSALS) or (
            error.sqlstate is None and isinstance(error, psycopg.DataError)
        )
    # The driver's own refusal of a text or a number.
    return isinstance(error, ValueError | TypeError | OverflowError)


def is_gone(error: psycopg.Error) -> bool:
    """Whether the connection, not the statement, is what failed; a new one may lead elsewhere."""
    if (error.sqlstate or "").startswith((*_REFUSALS, *_PASSING)):
        return False
    if error.sqlstate == _READ_ONLY:
        return True
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
