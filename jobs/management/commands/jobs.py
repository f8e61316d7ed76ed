"""`manage.py jobs …`: what a terminal may want to know, and do, about jobs."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from jobs.management import celery_beat, schedules
from jobs.management.console import need_tables


class Command(BaseCommand):
    help = "Look after jobs from a terminal."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
        for name, room in (("schedules", schedules), ("import-celery-beat", celery_beat)):
            about = room.__doc__ or ""
            verb = verbs.add_parser(
                name,
                help=room.HELP,
                description=about,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            room.add_arguments(verb)
            verb.set_defaults(run=room.run)

    def handle(self, *args: Any, **options: Any) -> None:
        need_tables()
        options["run"](self, options)
