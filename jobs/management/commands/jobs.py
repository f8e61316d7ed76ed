"""`manage.py jobs …`: what a terminal may want to know, and do, about jobs."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser

from jobs.management import celery_beat, prune, schedules
from jobs.management.console import JobsCommand, add_database, need_tables


class Command(JobsCommand):
    help = "Look after jobs from a terminal."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
        for name, room in (
            ("schedules", schedules),
            ("prune", prune),
            ("import-celery-beat", celery_beat),
        ):
            about = room.__doc__ or ""
            verb = verbs.add_parser(
                name,
                help=room.HELP,
                description=about,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            # Before the verb or behind it, as one's fingers have it.
            add_database(verb, default=argparse.SUPPRESS)
            room.add_arguments(verb)
            verb.set_defaults(run=room.run)

    def handle(self, *args: Any, **options: Any) -> None:
        need_tables()
        options["run"](self, options)
