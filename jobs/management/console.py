"""What the commands share: log lines on the console, and signals that end a loop."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connections

from jobs import conf, lifecycle


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

    def run_from_argv(self, argv: list[str]) -> None:
        try:
            super().run_from_argv(argv)
        except BrokenPipeError:
            # The reader is gone (`manage.py jobs schedules | head`); nor may Python's own last
            # flush complain of it.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)


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


# Whatever the role may read of them.
_COLUMNS = r"""
SELECT found.relname, attribute.attname
FROM pg_class AS found
JOIN pg_attribute AS attribute ON attribute.attrelid = found.oid
WHERE found.relkind IN ('r', 'p')
  AND found.relname LIKE 'jobs\_%'
  AND pg_table_is_visible(found.oid)
  AND attribute.attnum > 0
  AND NOT attribute.attisdropped
"""


def need_tables() -> None:
    """Raise CommandError when the jobs' database cannot be used, or is not as new as this code."""
    alias = conf.settings().database
    try:
        # Not Django's connection: this one waits for no answer for ever.
        with contextlib.closing(lifecycle.connect("jobs start")) as connection:
            found = set(connection.execute(_COLUMNS).fetchall())
    except (Error, psycopg.Error) as error:
        told = str(error).strip()
        raise CommandError(f"the jobs' database cannot be used: {told}") from error
    command = "migrate" if alias == "default" else f"migrate --database {alias}"
    models = apps.get_app_config("jobs").get_models()
    wanted = {(one._meta.db_table, field.column) for one in models for field in one._meta.fields}
    missing = sorted(wanted - found)
    if not found:
        raise CommandError(f"the tables of jobs are not there yet: run manage.py {command}")
    if missing:
        # Else it would run jobs and could not send heartbeats: others would run them again.
        table, column = missing[0]
        raise CommandError(
            f"the tables of jobs are older than this code ({table} has no column {column}): run "
            f"manage.py {command} before its workers start"
        )


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
