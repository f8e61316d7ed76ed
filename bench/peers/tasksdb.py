"""django-tasks-db: the database backend of Django's tasks."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

from bench.peer import PYTHON, Lot

from .bases import PostgresPeer, several

_SETTINGS = "bench.peers.tasksdb_settings"
_RESULTS = "FROM django_tasks_database_dbtaskresult"


@dataclass
class TasksDB(PostgresPeer):
    def __post_init__(self) -> None:
        self.label = "django-tasks-db"
        self.needs = ("postgres",)
        self.keeps = "result, times, worker"
        self.jobs = 20_000
        self.cannot = {
            "many": "a task is enqueued by itself",
            "naps": "a process runs one job at a time",
        }

    def prepare(self) -> None:
        # Not in here: this process may have been set up for another site.
        migrate = [PYTHON, "manage.py", "migrate", "--settings", _SETTINGS, "-v", "0"]
        subprocess.run(migrate, env=os.environ | self.places.environment, check=True)  # noqa: S603

    def clear(self) -> None:
        self.connection.execute("TRUNCATE django_tasks_database_dbtaskresult")

    @cached_property
    def _tasks(self) -> ModuleType:
        import django

        os.environ |= self.places.environment | {"DJANGO_SETTINGS_MODULE": _SETTINGS}
        django.setup()
        from . import tasksdb_tasks

        return tasksdb_tasks

    def enqueue_one(self, work: str) -> None:
        getattr(self._tasks, work).enqueue()

    def enqueue_many(self, work: str, count: int) -> None:
        task = getattr(self._tasks, work)
        from django.db import transaction

        with transaction.atomic():
            for _ in range(count):
                task.enqueue()

    def worker(self, lot: Lot) -> list[str]:
        command = [PYTHON, "manage.py", "db_worker", "--settings", _SETTINGS, "-v", "0"]
        return several(lot.processes, [*command, "--no-startup-delay"])

    def is_done(self) -> bool:
        # No index has what runs, so that is asked only when nothing waits.
        return bool(
            self.ask(f"SELECT NOT EXISTS (SELECT {_RESULTS} WHERE status = 'READY')")
            and self.ask(f"SELECT NOT EXISTS (SELECT {_RESULTS} WHERE status = 'RUNNING')")
        )

    def recorded(self) -> int | None:
        return int(self.ask(f"SELECT count(*) {_RESULTS} WHERE status = 'SUCCESSFUL'"))
