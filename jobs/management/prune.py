"""Delete the jobs that have ended longer ago than they are to be kept (JOBS["RETENTION"], or the
task's own `retention`). Workers do so by themselves, every JOBS["PRUNE_INTERVAL"].
"""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand

from jobs import lifecycle
from jobs.tasks import shortest_retention
from jobs.worker.pruner import Walk

HELP = "delete the jobs that have ended long ago"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say how many, and delete none")


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    shortest = shortest_retention()
    if shortest is None:
        command.stdout.write("All jobs are kept for ever: JOBS['RETENTION'] is None.")
        return
    walk = Walk(shortest)
    told = "to be deleted" if options["dry_run"] else "deleted"
    with lifecycle.connect("jobs prune") as connection:
        while not walk.is_over:
            walk.step(connection, dry=options["dry_run"])
            if options["verbosity"] and command.stdout.isatty():
                command.stdout.write(f"\r{walk.pruned:,} jobs {told}", ending="")
    command.stdout.write(f"{walk.pruned:,} jobs {told}")
