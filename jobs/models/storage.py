"""What models cannot say of the tables: storage parameters, and the schedules' trigger.

Migrations make them. Where tables are made from the models alone (`TEST: {"MIGRATE": False}`), they
are made after that, from the same texts.
"""

from __future__ import annotations

from importlib import import_module

from django.db import connections, transaction
from django.db.migrations.recorder import MigrationRecorder

_IS_THERE = """
SELECT to_regclass('jobs_schedule') IS NULL OR EXISTS (
    SELECT
    FROM pg_trigger
    WHERE tgname = 'jobs_schedule_changed' AND tgrelid = to_regclass('jobs_schedule')
)
"""


def complete(using: str) -> None:
    """Make what is missing, in a transaction of its own; nothing where migrations have run."""
    applied = MigrationRecorder(connections[using]).applied_migrations()
    if any(app == "jobs" for app, _ in applied):
        return
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(_IS_THERE)
        [is_there] = cursor.fetchone()
        if is_there:
            return
        for name in ("0002_storage", "0004_schedule_trigger"):
            migration = import_module(f"jobs.migrations.{name}").Migration
            for operation in migration.operations:
                cursor.execute(operation.sql)
