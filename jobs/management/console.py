"""What the commands share: log lines on the console, and signals that end a loop."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connections

from jobs import conf


class JobsCommand(BaseCommand):
    """A command about the jobs of one database: of the one that JOBS names, or of --database."""

    def add_arguments(self, parser: CommandParser) -> None:
        add_database(parser)

    def execute(self, *args: Any, **options: Any) -> str | None:
        alias = options.get("database")
        if alias is None:
            return super().execute(*args, **options)
        if alias not in connections.settings:
            known = ", ".join(sorted(connections.settings))
            raise CommandError(f"DATABASES has no {alias!r}; it has {known}")
        if connections[alias].vendor != "postgresql":
            raise CommandError(f"the database {alias!r} is not PostgreSQL, which jobs needs")
        with conf.serving(alias):
            return super().execute(*args, **options)


def add_database(parser: argparse.ArgumentParser, **more: Any) -> None:
    parser.add_argument(
        "--database",
        metavar="ALIAS",
        help="of the jobs in this database (default: JOBS['DATABASE'])",
        **more,
    )


def show_log_on_the_console(stream: Any, verbosity: int) -> None:
    """Show the log of `jobs`, unless the site's own settings say where it goes.

    With --verbosity 0, what went wrong only.
    """
    logger = logging.getLogger("jobs")
    if logger.hasHandlers():
        return
    logger.setLevel(logging.INFO if verbosity else logging.WARNING)
    handler = logging.StreamHandler(stream)
    handler.terminator = ""
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)


def need_tables() -> None:
    """CommandError when the jobs' database cannot be used, or was not migrated."""
    alias = conf.settings().database
    try:
        with connections[alias].cursor() as cursor:
            tables = connections[alias].introspection.table_names(cursor)
    except Error as error:
        told = str(error).strip()
        raise CommandError(f"the jobs' database cannot be used: {told}") from error
    if not {"jobs_job", "jobs_schedule"} <= set(tables):
        database = "" if alias == "default" else f" --database {alias}"
        raise CommandError(f"the tables of jobs are not there yet: run manage.py migrate{database}")


@contextlib.contextmanager
def is_serving(stop: Callable[[], None]) -> Iterator[None]:
    """While it lasts, SIGTERM and SIGINT call `stop`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
