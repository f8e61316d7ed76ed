"""`manage.py runbeat`: enqueues what the schedules say is due."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.db import Error

from jobs import beat
from jobs.errors import JobsError
from jobs.management.console import (
    JobsCommand,
    is_serving,
    need_tables,
    show_log_on_the_console,
)
from jobs.worker.bell import Bell, Call


class Command(JobsCommand):
    help = (
        "Enqueue what the schedules say is due, each tick once. Any number of beats may run at "
        "the same time. Ctrl-C or SIGTERM stops it. `runworker --beat` does the same in a worker."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        show_log_on_the_console(self.stderr, options["verbosity"])
        need_tables()
        bell = Bell()

        def sleep(seconds: float, file: int | None) -> bool:
            calls, _ = bell.wait(seconds, other=file)
            return Call.STOP not in calls

        try:
            if options["verbosity"]:
                names = ", ".join(sorted(beat.declared()[0])) or "none"
                self.stdout.write(f"beat serves all schedules; declared in code: {names}")
                self.stdout.write("Stop it with Ctrl-C or SIGTERM.")
            with is_serving(lambda: bell.ring(Call.STOP)):
                beat.serve(sleep)
        except (Error, JobsError) as error:
            raise CommandError(str(error)) from error
        if options["verbosity"]:
            self.stdout.write("stopped")
