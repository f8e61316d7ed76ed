"""What only the PostgreSQL server itself can tell."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Warning
from django.db import connections
from django.db.migrations.loader import MigrationLoader

OLDEST_POSTGRESQL = 15


def problems(alias: str) -> Iterator[CheckMessage]:
    wrapper = connections[alias]
    if wrapper.vendor != "postgresql":
        return
    with wrapper.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        version = int(cursor.fetchone()[0]) // 10_000
        cursor.execute("SHOW server_encoding")
        [encoding] = cursor.fetchone()
        tables = wrapper.introspection.table_names(cursor)
    if version < OLDEST_POSTGRESQL:
        yield Error(
            f"The database {alias!r} runs PostgreSQL {version}; jobs needs "
            f"{OLDEST_POSTGRESQL} or newer.",
            id="jobs.E004",
        )
    if encoding != "UTF8":
        yield Error(
            f"The database {alias!r} has the encoding {encoding}; jobs needs UTF8, as Django does.",
            hint="Make the database anew: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.",
            id="jobs.E012",
        )
    # Not while migrate is what is about to run.
    is_migrating = sys.argv[1:2] == ["migrate"]
    if "jobs_job" in tables and not is_migrating and (missing := _missing(alias)):
        yield Warning(
            f"The database {alias!r} lacks migrations of jobs: {', '.join(missing)}.",
            hint="Run manage.py migrate before workers with this code start.",
            id="jobs.W008",
        )


def _missing(alias: str) -> list[str]:
    loader = MigrationLoader(connections[alias])
    known = {name for label, name in loader.disk_migrations if label == "jobs"}
    return sorted(known - {name for label, name in loader.applied_migrations if label == "jobs"})
