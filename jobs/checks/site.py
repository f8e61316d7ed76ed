"""The site around it: databases, routers, pools, time zones, backends, tables that point here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections, router
from django.db.models import ForeignKey

from jobs import conf
from jobs.models import Job

BACKEND = "jobs.backend.JobsBackend"


def problems() -> Iterator[CheckMessage]:
    yield from _database()
    yield from _time_zone()
    yield from _foreign_keys()
    yield from _backends()


def _database() -> Iterator[CheckMessage]:
    alias = conf.settings().database
    if alias not in connections.settings:
        yield Error(
            f"JOBS['DATABASE'] is {alias!r}, which DATABASES does not have.",
            hint=f"It has: {', '.join(sorted(connections.settings))}.",
            id="jobs.E002",
        )
    elif connections[alias].vendor != "postgresql":
        yield Error(
            f"The database {alias!r} is {connections[alias].display_name}; jobs needs PostgreSQL.",
            hint="Set DATABASES, or JOBS['DATABASE'] to the alias of a PostgreSQL database.",
            id="jobs.E003",
        )
    elif not router.allow_migrate_model(alias, Job):
        yield Error(
            f"A database router keeps the tables of jobs out of the database {alias!r}, where "
            "JOBS['DATABASE'] has them.",
            hint="Let its allow_migrate() return True, or None, for the app label 'jobs' there.",
            id="jobs.E011",
        )
    elif (
        connections.settings[alias].get("DISABLE_SERVER_SIDE_CURSORS")
        and not conf.settings().transaction_pooling
    ):
        yield Warning(
            f"The database {alias!r} has DISABLE_SERVER_SIDE_CURSORS, as behind PgBouncer in "
            "transaction mode, where workers cannot LISTEN nor keep options in a session.",
            hint="Set JOBS['TRANSACTION_POOLING'] = True where that is so.",
            id="jobs.W003",
        )
    yield from _pool(alias)


def _pool(alias: str) -> Iterator[CheckMessage]:
    pool = connections.settings.get(alias, {}).get("OPTIONS", {}).get("pool")
    if not pool:
        return
    # As psycopg has it.
    said = pool if isinstance(pool, dict) else {}
    largest = said.get("max_size") or said.get("min_size", 4)
    threads = conf.settings().threads
    if largest < threads:
        yield Warning(
            f"The pool of the database {alias!r} has {largest} connections at most, for "
            f"{threads} threads of a runner: tasks would wait for one another.",
            hint="Raise max_size to JOBS['THREADS'] at least.",
            id="jobs.W010",
        )


def _time_zone() -> Iterator[CheckMessage]:
    if not django_settings.USE_TZ:
        yield Error(
            "USE_TZ is False; jobs keeps moments, which need a time zone.",
            hint="Set USE_TZ = True.",
            id="jobs.E005",
        )


def _foreign_keys() -> Iterator[CheckMessage]:
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.local_fields:
            if (
                isinstance(field, ForeignKey)
                and field.related_model is Job
                and getattr(field, "db_constraint", True)
                # From Django 6.1 on the database itself may see to it.
                and not hasattr(field.remote_field.on_delete, "operation")
                and model._meta.app_label != "jobs"
            ):
                yield Warning(
                    f"{field} has a constraint: jobs that it points to are not deleted when they "
                    "are old.",
                    hint="Use a UUIDField, or db_constraint=False.",
                    obj=model,
                    id="jobs.W005",
                )


def _backends() -> Iterator[CheckMessage]:
    """Of Django's own task API; what each backend's own check cannot see."""
    allowed = conf.settings().queues
    backends: dict[str, dict[str, Any]] = getattr(django_settings, "TASKS", {})
    for alias, said in backends.items():
        if said.get("BACKEND") != BACKEND or allowed is None:
            continue
        for name in sorted(set(said.get("QUEUES") or ()) - set(allowed)):
            yield Warning(
                f"TASKS[{alias!r}] has the queue {name!r}, and JOBS['QUEUES'] has not: its tasks "
                "are refused.",
                hint=f"JOBS['QUEUES'] has: {', '.join(allowed)}.",
                id="jobs.W011",
            )
