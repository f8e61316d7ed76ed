"""What is well in development, and not in production."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Warning
from django.db import connections

from jobs import conf
from jobs.tasks import shortest_retention

# Backends of Django's own task API that run nothing in the background.
_FOR_DEVELOPMENT = ("ImmediateBackend", "DummyBackend")


def problems() -> Iterator[CheckMessage]:
    alias = conf.settings().database
    said = connections.settings.get(alias, {})
    # With None connections live for ever.
    if said.get("CONN_MAX_AGE", 0) == 0 and not said.get("OPTIONS", {}).get("pool"):
        yield Warning(
            f"The database {alias!r} has CONN_MAX_AGE = 0 and no pool: each job that uses the "
            "database opens a connection of its own.",
            hint="Set CONN_MAX_AGE = 60, say, and CONN_HEALTH_CHECKS = True.",
            id="jobs.W006",
        )
    if conf.settings().immediate:
        yield Warning(
            "JOBS['IMMEDIATE'] is True: jobs run within the requests that enqueue them.",
            hint="Set it in development and tests only.",
            id="jobs.W012",
        )
    if shortest_retention() is None:
        yield Warning(
            "JOBS['RETENTION'] is None: finished jobs are kept for ever, and their table grows.",
            hint="Set a timedelta, or run `manage.py jobs prune` after setting one.",
            id="jobs.W007",
        )
    # Django's own default is one, and most sites never look at it.
    backends = django_settings.TASKS if django_settings.is_overridden("TASKS") else {}  # type: ignore[misc]
    for name, backend in backends.items():
        kind = str(backend.get("BACKEND", "")).rpartition(".")[2]
        if kind in _FOR_DEVELOPMENT:
            yield Warning(
                f"TASKS[{name!r}] is a {kind}: its tasks never run in the background.",
                hint="Set its BACKEND to 'jobs.backend.JobsBackend'.",
                id="jobs.W009",
            )
