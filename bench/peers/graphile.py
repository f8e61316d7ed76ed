"""Graphile Worker, on Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.peer import Lot

from .bases import PostgresPeer, several

_SOURCE = Path(__file__).parent.parent / "node"
_BATCH = 5_000


@dataclass
class Graphile(PostgresPeer):
    def __post_init__(self) -> None:
        self.label = "Graphile Worker"
        self.needs = ("postgres", "node")
        self.keeps = "nothing"
        self.jobs = 100_000
        self._folder = self.places.folder.absolute().parent / "node"

    def missing(self) -> str | None:
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                return f"there is no {program}"
        return None

    def prepare(self) -> None:
        shutil.copytree(_SOURCE, self._folder, dirs_exist_ok=True)
        if not (self._folder / "node_modules" / "graphile-worker").exists():
            install = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
            subprocess.run(install, cwd=self._folder, check=True)  # noqa: S603
        subprocess.run([*self._command, "--schema-only"], check=True)  # noqa: S603

    @property
    def _command(self) -> list[str]:
        database = self.places.database
        connection = ["PGUSER=postgres", f"PGHOST={database.host}", f"PGDATABASE={database.name}"]
        # Or it would log each job.
        quiet = "NO_LOG_SUCCESS=1"
        program = str(self._folder / "node_modules/graphile-worker/dist/cli.js")
        configuration = str(self._folder / "graphile.config.js")
        return ["env", *connection, quiet, "node", program, "--config", configuration]

    def clear(self) -> None:
        self.connection.execute("TRUNCATE graphile_worker._private_jobs")

    def enqueue_one(self, work: str) -> None:
        self.connection.execute("SELECT graphile_worker.add_job(%s)", [work])

    def enqueue_many(self, work: str, count: int) -> None:
        for first in range(0, count, _BATCH):
            specs = json.dumps([{"identifier": work}] * min(_BATCH, count - first))
            self.connection.execute(
                "SELECT count(*) FROM graphile_worker.add_jobs(ARRAY("
                " SELECT json_populate_recordset(NULL::graphile_worker.job_spec, %s::json)))",
                [specs],
            )

    def worker(self, lot: Lot) -> list[str]:
        jobs, ahead = 24, 500
        if lot.slots > 1:
            jobs = lot.slots // lot.processes
            # Its guide's advice, or one process would lock what the other could run.
            ahead = jobs + 1
        command = ["env", f"BENCH_LOCAL_QUEUE={ahead}", *self._command, "--jobs", str(jobs)]
        return several(lot.processes, command)

    def is_done(self) -> bool:
        # The newest first: the oldest rows are dead by the thousand.
        return bool(
            self.ask(
                "SELECT NOT EXISTS"
                " (SELECT FROM graphile_worker._private_jobs ORDER BY id DESC LIMIT 1)"
            )
        )
