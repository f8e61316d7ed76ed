"""Connections for the worker's statements: plans pinned, results as text, nothing else on them."""

from __future__ import annotations

import random
from typing import Any

import psycopg
from django.db import connections
from psycopg.types.string import TextLoader

from jobs import conf

from .bounded import ANSWER_TIMEOUT, Connection
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
# Seconds that one statement may take in the server.
STATEMENT_TIMEOUT = 30.0
_BOUNDED = {
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "30s",
    # An administrator's limit for idle sessions must not cut a listener.
    "idle_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    # Python's sums of moments in one zone's own time are of wall time.
    "timezone": "UTC",
}
# The server's half of _KEEPALIVE: the session of a host that died keeps its locks no longer.
# Ignored on Unix sockets.
_SERVER_KEEPALIVE = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}
# From PostgreSQL 17 on: also ends a transaction whose client was cut off between two messages of
# one pipeline, which no other limit reaches.
_TRANSACTION_TIMEOUT, _HAS_TRANSACTION_TIMEOUT = "60s", 170_000
_SET_TRANSACTION_TIMEOUT = "SELECT set_config('transaction_timeout', %s, false)"
_KEEPALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "connect_timeout": 10,
}


def connect(
    name: str,
    *,
    pinned: bool = True,
    statement_timeout: float = STATEMENT_TIMEOUT,
    answer_timeout: float = ANSWER_TIMEOUT,
) -> psycopg.Connection[Any]:
    """Open a connection to the jobs' database, in autocommit.

    `name` is shown in pg_stat_activity. Both timeouts are in seconds. Raises
    psycopg.OperationalError when the database cannot be reached.
    """
    wrapper = connections[conf.settings().database]
    params = {**_KEEPALIVE, **wrapper.get_connection_params()}
    for key in ("cursor_factory", "context", "prepare_threshold", "pool"):
        params.pop(key, None)
    params["connect_timeout"] = min(int(params["connect_timeout"]), max(2, int(answer_timeout)))
    role = wrapper.settings_dict["OPTIONS"].get("assume_role")
    options = _BOUNDED | {"statement_timeout": f"{statement_timeout * 1000:.0f}ms"}
    options |= (_PINNED if pinned else {}) | ({"role": role} if role else {})
    params["application_name"] = name
    connection: Connection
    if conf.settings().transaction_pooling:
        pooled = Pooled.connect(**params, autocommit=True)
        if pooled.info.server_version >= _HAS_TRANSACTION_TIMEOUT:
            options["transaction_timeout"] = _TRANSACTION_TIMEOUT
        pooled.pin(options)
        connection = pooled
    else:
        parts = [
            f"-c {key}=" + value.replace(" ", "\\ ")
            for key, value in (options | _SERVER_KEEPALIVE).items()
        ]
        params["options"] = " ".join([params.get("options", ""), *parts])
        connection = Connection.connect(**params, autocommit=True)
        connection.prepare_threshold = 0
        if connection.info.server_version >= _HAS_TRANSACTION_TIMEOUT:
            connection.execute(_SET_TRANSACTION_TIMEOUT, [_TRANSACTION_TIMEOUT])
    connection.answer_timeout = answer_timeout
    # As PostgreSQL writes them: ids and JSON pass through the worker without being built.
    connection.adapters.register_loader("uuid", TextLoader)
    connection.adapters.register_loader("jsonb", TextLoader)
    return connection


def pause_after(failures: int) -> float:
    """Return how many seconds to wait before trying again after so many failures in a row.

    Doubles up to 3 seconds, then ±50 %, so that processes do not reconnect all at the same moment.
    """
    pause: float = min(3.0, 0.05 * 2.0 ** min(failures, 8))
    return pause * (0.5 + random.random())  # noqa: S311
