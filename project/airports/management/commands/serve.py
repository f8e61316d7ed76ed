"""`manage.py serve`: site, worker and beat, to look at."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from project.airports.processes import free_port, prepare, running


class Command(BaseCommand):
    help = "Run site, worker and beat together, until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        prepare()
        port = free_port(options["port"])
        with running(port, quiet=False) as processes:
            self.stdout.write(f"\nSite:  http://127.0.0.1:{port}/")
            self.stdout.write(f"Admin: http://127.0.0.1:{port}/admin/ (admin, admin)")
            self.stdout.write("Ctrl-C stops all.\n")
            try:
                while all(process.poll() is None for process in processes):
                    time.sleep(0.2)
            except KeyboardInterrupt:
                self.stdout.write("stopping")
