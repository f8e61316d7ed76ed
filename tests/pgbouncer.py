"""A real PgBouncer in transaction mode, before the tests' database."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from django.db import connection

from tests.eventually import eventually

# So few that clients have to share the server's sessions.
_SESSIONS = 2
_CONFIGURATION = """
[databases]
* = {upstream}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 100
logfile = {folder}/log
pidfile = {folder}/pid
"""


def program() -> str | None:
    """Where PgBouncer is, if it is installed."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def pgbouncer() -> Iterator[int]:
    """The port on which it runs."""
    found = program()
    assert found is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        configuration = Path(folder, "pgbouncer.ini")
        configuration.write_text(
            _CONFIGURATION.format(
                upstream=_upstream(), port=port, sessions=_SESSIONS, folder=folder
            )
        )
        process = subprocess.Popen(
            [found, *_as_somebody(), str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually(lambda: _answers(port))
            yield port
        finally:
            process.terminate()
            process.wait(10)


def _upstream() -> str:
    """The server that Django's own connection goes to, as PgBouncer names it."""
    info = connection.connection.info if connection.connection else None
    if info is None:
        connection.ensure_connection()
        info = connection.connection.info
    parts = {"host": info.host, "port": info.port, "user": info.user, "password": info.password}
    return " ".join(f"{name}='{value}'" for name, value in parts.items() if value)


def _as_somebody() -> list[str]:
    """It refuses to run as root."""
    if os.geteuid() != 0:
        return []
    names = {user.pw_name for user in pwd.getpwall()}
    return ["-u", "postgres" if "postgres" in names else "nobody"]


def _answers(port: int) -> bool:
    name = str(connection.settings_dict["NAME"])
    try:
        psycopg.connect(host="127.0.0.1", port=port, dbname=name, user="anybody").close()
    except psycopg.OperationalError:
        return False
    return True
