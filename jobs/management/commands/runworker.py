"""`manage.py runworker`: parses, and starts a Supervisor."""

from __future__ import annotations

import sys
from argparse import BooleanOptionalAction
from datetime import timedelta
from typing import Any

import psycopg
from django.conf import settings as django_settings
from django.core.management.base import CommandError, CommandParser
from django.db import Error

from jobs import beat, conf
from jobs.management.console import (
    JobsCommand,
    is_serving,
    need_tables,
    show_log_on_the_console,
)
from jobs.models import Queue
from jobs.tasks import registered
from jobs.worker import Options, Supervisor
from jobs.worker.bell import Bell, Call
from jobs.worker.console import Console
from jobs.worker.options import cores, default_name
from jobs.worker.recycling import Limits

# It stands on each job, with the runner's number behind it.
LONGEST_NAME = 100
# Of a kind, in one process: the board has room for so many, and for what waits to be recorded.
MOST_SLOTS = 2_000


class Command(JobsCommand):
    help = (
        "Run jobs: claim them from PostgreSQL, call their functions, record how they ended. "
        "The first Ctrl-C or SIGTERM lets running jobs finish; the second stops at once. "
        "Exit code 0: all running jobs finished; 1: some had to be given back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        # A mistake in JOBS is told by the system checks, which run after this.
        settings = conf.Settings() if conf.check() else conf.settings()
        parser.add_argument(
            "-Q", "--queues", default="", help="serve only these queues, with commas (default: all)"
        )
        parser.add_argument(
            "-X", "--exclude-queues", default="", help="do not serve these queues, with commas"
        )
        parser.add_argument(
            "--processes",
            type=int,
            default=settings.processes or cores(),
            help="runner processes (default: JOBS['PROCESSES'], or one per core: %(default)s)",
        )
        parser.add_argument(
            "--threads",
            type=int,
            default=settings.threads,
            help="plain functions at once, in each process (default: %(default)s)",
        )
        parser.add_argument(
            "--coroutines",
            type=int,
            default=settings.coroutines,
            help="async functions at once, in each process (default: %(default)s)",
        )
        parser.add_argument(
            "--grace-period",
            type=float,
            default=settings.grace_period.total_seconds(),
            help="seconds that running jobs have once told to stop (default: %(default)s)",
        )
        parser.add_argument(
            "--drain",
            action="store_true",
            help="wait for running jobs without a limit once told to stop; a second signal still "
            "stops at once",
        )
        parser.add_argument(
            "--autoscale",
            metavar="MIN,MAX",
            default="",
            help="as many runner processes as jobs wait for, between these; instead of --processes",
        )
        parser.add_argument(
            "--max-jobs",
            type=int,
            help="renew a runner process after so many jobs, give or take 10 %%",
        )
        parser.add_argument(
            "--max-age",
            type=float,
            metavar="SECONDS",
            help="renew a runner process after so long, give or take 10 %%",
        )
        parser.add_argument(
            "--max-memory",
            type=int,
            metavar="MB",
            help="renew a runner process that has grown to this",
        )
        parser.add_argument(
            "--reload",
            action=BooleanOptionalAction,
            default=django_settings.DEBUG,
            help="begin anew when the site's code has changed (default: as DEBUG)",
        )
        parser.add_argument("--name", default="", help="its name (default: host and process id)")
        parser.add_argument(
            "--burst", action="store_true", help="stop as soon as no job is ready any more"
        )
        parser.add_argument(
            "--beat", action="store_true", help="serve the schedules, too, as runbeat does"
        )

    def handle(self, *args: Any, **given: Any) -> None:
        verbosity = given["verbosity"]
        show_log_on_the_console(self.stderr, verbosity)
        options = self._options(given)
        need_tables()
        console = Console(self.stdout.write if verbosity else lambda line: None)
        for queue_name in sorted({*(options.queues or ())} - known_queues()):
            console.say(f"No job and no task has named the queue {queue_name!r} yet: a typo?")
        try:
            code = Supervisor(options, console, _serve_beat if options.beat else None).run()
        except (Error, psycopg.Error) as error:
            told = str(error).strip()
            raise CommandError(f"the jobs' database cannot be used: {told}") from error
        if code:
            sys.exit(code)

    def _options(self, given: dict[str, Any]) -> Options:
        for name in ("processes", "threads", "coroutines"):
            if given[name] < 1:
                raise CommandError(f"--{name} must be at least 1")
            if given[name] > MOST_SLOTS:
                raise CommandError(f"--{name} must be at most {MOST_SLOTS}")
        for name in ("max_jobs", "max_age", "max_memory"):
            if given[name] is not None and given[name] <= 0:
                raise CommandError(f"--{name.replace('_', '-')} must be greater than zero")
        autoscale = _autoscale(given["autoscale"])
        if len(given["name"]) > LONGEST_NAME:
            raise CommandError(f"--name must be at most {LONGEST_NAME} characters")
        queues = _names(given["queues"])
        excluded = _names(given["exclude_queues"])
        allowed = conf.settings().queues
        for queue_name in (*queues, *excluded):
            if allowed is not None and queue_name not in allowed:
                raise CommandError(
                    f"JOBS['QUEUES'] has no queue {queue_name!r}; it has {', '.join(allowed)}"
                )
        return Options(
            name=given["name"] or default_name(),
            queues=queues or None,
            excluded_queues=excluded,
            processes=autoscale[0] if autoscale else given["processes"],
            autoscale=autoscale,
            threads=given["threads"],
            coroutines=given["coroutines"],
            grace_period=timedelta(seconds=given["grace_period"]),
            drain=given["drain"],
            limits=Limits(
                max_jobs=given["max_jobs"],
                max_age=given["max_age"],
                max_memory=given["max_memory"],
            ),
            reload=given["reload"] and not given["burst"],
            burst=given["burst"],
            beat=given["beat"],
        )


def known_queues() -> set[str]:
    """The queues that a task, the settings or a job have named."""
    rows = Queue.objects.using(conf.settings().database).values_list("name", flat=True)
    named = {task.queue_name for task in registered().values()}
    return named | {*(conf.settings().queues or ()), *rows}


def _autoscale(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    try:
        least, most = (int(part) for part in text.split(","))
    except ValueError:
        raise CommandError(
            f"--autoscale is {text!r}; it must be two numbers, as in --autoscale 1,4"
        ) from None
    if not 1 <= least <= most <= MOST_SLOTS:
        raise CommandError(f"--autoscale {text}: it must be 1 ≤ MIN ≤ MAX ≤ {MOST_SLOTS}")
    return least, most


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _serve_beat(bell: Bell, lifeline: int) -> None:
    """The beat as a child of a worker: until its bell says so, or the worker is gone."""

    def sleep(seconds: float, file: int | None) -> bool:
        calls, orphaned = bell.wait(seconds, lifeline, file)
        return not orphaned and Call.STOP not in calls

    with is_serving(lambda: bell.ring(Call.STOP)):
        beat.serve(sleep)
