"""This project, with the settings that it comes with."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from bench.peer import PYTHON, Lot, Peer


@dataclass
class Jobs(Peer):
    def __post_init__(self) -> None:
        self.label = "Jobs"
        self.needs = ("postgres",)
        self.keeps = "result, times, worker"
        self.jobs = 100_000
        self._last: UUID | None = None

    def prepare(self) -> None:
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)

    def clear(self) -> None:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE jobs_job, jobs_log, jobs_attempt, jobs_claim")

    def enqueue_one(self, work: str) -> None:
        from bench import tasks
        from jobs import enqueue

        self._last = enqueue(getattr(tasks, work)).pk

    def enqueue_many(self, work: str, count: int) -> None:
        from bench import tasks
        from jobs import enqueue_many

        self._last = enqueue_many(getattr(tasks, work), [()] * count)[-1]

    def worker(self, lot: Lot) -> list[str]:
        command = [PYTHON, "manage.py", "runworker", "--settings", "bench.settings", "-v", "0"]
        if lot.processes != 2:
            command += ["--processes", str(lot.processes)]
        if lot.slots > 1:
            kind = "--coroutines" if lot.coroutines else "--threads"
            command += [kind, str(lot.slots // lot.processes)]
        return command

    def is_done(self) -> bool:
        from django.db import connection

        with connection.cursor() as cursor:
            # Without a walk over what an open snapshot keeps: the last one comes last.
            cursor.execute(
                "SELECT finished_at IS NOT NULL AND NOT EXISTS (SELECT FROM jobs_claim) "
                "FROM jobs_job WHERE id = %s",
                [self._last],
            )
            return bool(cursor.fetchone()[0])

    def recorded(self) -> int | None:
        from jobs.models import Job

        return Job.objects.filter(state="succeeded", attempt=1).count()
