"""What a measurement needs to run: a PostgreSQL and a Redis of its own, with their defaults."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from project.private_postgres.server import Server

FOLDER = Path(".bench")


@dataclass(frozen=True)
class Database:
    """A database of a server that runs here; `host` is its socket's folder."""

    host: str
    name: str = "postgres"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/{self.name}?host={self.host}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "BENCH_HOST": self.host,
            "BENCH_DATABASE": self.name,
            "DJANGO_SETTINGS_MODULE": "bench.settings",
        }


@contextlib.contextmanager
def postgres(name: str, programs: Path | None = None) -> Iterator[Database]:
    """A running server, with the settings that PostgreSQL comes with."""
    server = Server(FOLDER / name, programs)
    server.ensure_running()
    try:
        yield Database(str(server.socket_folder))
    finally:
        server.stop()


def oldest() -> tuple[str, Path] | None:
    """The oldest supported version that Debian's packages have brought here, and its programs."""
    found = sorted(
        (int(folder.parent.name), folder)
        for folder in Path("/usr/lib/postgresql").glob("*/bin")
        if folder.parent.name.isdigit() and (folder / "initdb").exists()
    )
    supported = [(str(version), folder) for version, folder in found if 15 <= version < 18]
    return supported[0] if supported else None


def create(server: Database, name: str) -> Database:
    """A database of that name on the same server, empty."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return Database(server.host, name)


@contextlib.contextmanager
def redis() -> Iterator[str | None]:
    """A running Redis, with the settings that it comes with; its URL, to which the number of a
    database is to be added. None: it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(  # noqa: S603
            [program, "--port", str(port), "--dir", folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _until_open(port)
            yield f"redis://127.0.0.1:{port}/"
        finally:
            process.terminate()
            process.wait(10)


def _until_open(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
