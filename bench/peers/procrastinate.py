"""Procrastinate, with psycopg."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.peer import PYTHON, Lot

from .bases import PostgresPeer, several


@dataclass
class Procrastinate(PostgresPeer):
    def __post_init__(self) -> None:
        self.label = "Procrastinate"
        self.needs = ("postgres",)
        self.keeps = "job, events"
        self.jobs = 20_000

    def prepare(self) -> None:
        from procrastinate.schema import SchemaManager

        if self.ask("SELECT to_regclass('procrastinate_jobs') IS NULL"):
            self.connection.execute(SchemaManager.get_schema())

    def clear(self) -> None:
        self.connection.execute("TRUNCATE procrastinate_jobs CASCADE")

    @cached_property
    def _tasks(self) -> dict[str, Any]:
        from .procrastinate_app import TASKS, app

        app.open()
        return TASKS

    def enqueue_one(self, work: str) -> None:
        self._tasks[work].defer()

    def enqueue_many(self, work: str, count: int) -> None:
        self._tasks[work].batch_defer(*[{}] * count)

    def worker(self, lot: Lot) -> list[str]:
        # A job costs two statements: some at a time overlap them. More than ten add nothing.
        jobs = 10 if lot.slots == 1 else lot.slots // lot.processes
        command = [PYTHON, "-m", "procrastinate", "--log-level", "warning"]
        command += ["--app", "bench.peers.procrastinate_app.app"]
        return several(lot.processes, [*command, "worker", "--concurrency", str(jobs)])

    def is_done(self) -> bool:
        # The newest that has not ended: of an index that has only those.
        return bool(
            self.ask(
                "SELECT NOT EXISTS (SELECT FROM procrastinate_jobs"
                " WHERE status IN ('todo', 'doing') ORDER BY id DESC LIMIT 1)"
            )
        )

    def recorded(self) -> int | None:
        return int(self.ask("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"))
