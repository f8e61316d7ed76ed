"""Retention: how long a finished job is kept, by the definition of its task."""

from __future__ import annotations

import contextlib
import logging
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings

from jobs import conf
from jobs.errors import JobsError

from . import registry

logger = logging.getLogger("jobs")

_BACKEND = "jobs.backend.JobsBackend"
# Rows may name anything.
_MOST_KNOWN = 4_096
_known: dict[str, tuple[Any, timedelta | None]] = {}


def retention_of(name: str) -> timedelta | None:
    """For how long jobs of the task of that name are kept; None: for ever.

    Where nobody here knows the task it is JOBS["RETENTION"]; but where its module cannot be
    imported, whatever it would say is unknown, and its jobs stay.
    """
    settings = conf.settings()
    now = (settings, registry.generation)
    for_now, found = _known.get(name, (None, None))
    if for_now == now:
        return found
    try:
        own = registry.resolve(name).retention
    except KeyboardInterrupt:
        raise
    except JobsError:
        return settings.retention
    except BaseException as error:
        logger.warning("jobs of %s are kept: %s: %s", name, type(error).__name__, error)
        return None
    found = settings.retention if own is None else own
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[name] = ((settings, registry.generation), found)
    return found


def shortest_retention() -> timedelta | None:
    """The shortest that anybody asks for; None: all is kept for ever."""
    settings = conf.settings()
    said: list[Any] = [settings.retention]
    for task in registry.registered().values():
        # A mistake in JOBS["TASKS"] is the system check's to tell.
        with contextlib.suppress(JobsError):
            said.append(registry.configured(task).retention)
    for patterns in (settings.defaults, settings.tasks):
        said += [options.get("retention") for options in patterns.values()]
    said += [getattr(task, "retention", None) for task in registry.declared().values()]
    said += [
        backend.get("OPTIONS", {}).get("RETENTION")
        for backend in getattr(django_settings, "TASKS", {}).values()
        if backend.get("BACKEND") == _BACKEND
    ]
    return min((one for one in said if isinstance(one, timedelta)), default=None)
