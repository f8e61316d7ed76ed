"""Retention: how long a finished job is kept, by the definition of its task."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings as django_settings

from jobs import conf
from jobs.errors import JobsError

from . import registry

# What tasks of Django's own API have said, which are in no registry.
_noted: set[timedelta] = set()
# Rows may name anything.
_MOST_KNOWN = 4_096
_known: dict[str, tuple[conf.Settings, timedelta | None]] = {}


def retention_of(name: str) -> timedelta | None:
    """For how long jobs of the task of that name are kept; None: for ever."""
    settings = conf.settings()
    for_settings, found = _known.get(name, (None, None))
    if for_settings is not settings:
        try:
            own = registry.resolve(name).retention
        except (JobsError, ImportError):
            # Nobody here knows it: older code, perhaps.
            own = None
        found = settings.retention if own is None else own
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[name] = (settings, found)
    return found


def note(retention: timedelta) -> None:
    """A task of Django's own API keeps its jobs for so long."""
    _noted.add(retention)


def shortest_retention() -> timedelta | None:
    """The shortest of all tasks; None: all is kept for ever."""
    settings = conf.settings()
    said = [settings.retention]
    said += [registry.configured(task).retention for task in registry.registered().values()]
    said += [options.get("retention") for options in settings.tasks.values()]
    backends = getattr(django_settings, "TASKS", {}).values()
    said += [backend.get("OPTIONS", {}).get("RETENTION") for backend in backends]
    said += _noted
    return min((one for one in said if one is not None), default=None)
