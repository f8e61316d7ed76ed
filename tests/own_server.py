"""A PostgreSQL of a test's own, and workers of the chaos site on it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from project.private_postgres.server import Server

ROOT = Path(__file__).parent.parent
JOB = """
INSERT INTO jobs_job (task, arguments)
VALUES ('tests.chaos.tasks.plain', jsonb_build_object(
    'args', jsonb_build_array(%s::int, %s::float8), 'kwargs', '{}'::jsonb
)) RETURNING id
"""


class Own:
    """The server, and what runs on it."""

    def __init__(self, folder: Path, **preload: str) -> None:
        """`preload`: environment of PostgreSQL itself."""
        self.folder = folder
        self.server = Server(folder / "postgres")
        before = {name: os.environ.get(name) for name in preload}
        os.environ.update(preload)
        try:
            self.server.ensure_running()
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value
        self.environment = {
            **os.environ,
            "CHAOS_HOST": str(self.server.socket_folder),
            "CHAOS_FOLDER": str(folder),
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
        }
        subprocess.run(self.command("migrate", "-v", "0"), env=self.environment, check=True)
        self._started: list[subprocess.Popen[bytes]] = []

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(ROOT / "manage.py"), *arguments]

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log.txt").open("ab") as log:
            worker = subprocess.Popen(
                self.command("runworker", *arguments),
                env=self.environment | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )
        self._started.append(worker)
        return worker

    @contextlib.contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        where = f"postgresql://postgres@/postgres?host={self.server.socket_folder}"
        with psycopg.connect(where, autocommit=True) as connection:
            yield connection

    def enqueue(self, seconds: float) -> Any:
        with self.connect() as connection:
            row = connection.execute(JOB, [1, seconds]).fetchone()
            assert row is not None
            return row[0]

    def state(self, id_: Any) -> tuple[str, int, int]:
        with self.connect() as connection:
            found = connection.execute(
                "SELECT state, attempt, losses FROM jobs_job WHERE id = %s", [id_]
            ).fetchone()
        assert found is not None
        return found

    def ticks(self) -> int:
        with self.connect() as connection:
            found = connection.execute(
                "SELECT count(*) FROM jobs_job WHERE schedule_id IS NOT NULL"
            ).fetchone()
        assert found is not None
        return int(found[0])

    def close(self) -> None:
        for worker in self._started:
            worker.terminate()
        for worker in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(10)
            worker.kill()
        self.server.stop("immediate")


def cpu_seconds(pid: int) -> float:
    """Of a process and its children."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = 0
    for one in [str(pid), *listed]:
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
