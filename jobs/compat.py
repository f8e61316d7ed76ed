"""Django's own task API: in Django from 6.0 on, in the backport `django-tasks` before."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from .errors import JobsError


class NoTaskAPI(JobsError, ImportError):
    """Neither Django nor a backport has `tasks`."""


def _package() -> str:
    for name in ("django.tasks", "django_tasks"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        return name
    return ""


_PACKAGE = _package()


def part(name: str = "") -> ModuleType:
    """A module of the task API: part("base"), part("signals"); NoTaskAPI when there is none."""
    if not _PACKAGE:
        raise NoTaskAPI(
            "django.tasks came with Django 6.0; before it, install the backport: "
            "pip install 'django-pgjobs[backport]'"
        )
    return importlib.import_module(f"{_PACKAGE}.{name}" if name else _PACKAGE)


def exception(name: str) -> Any:
    """One of its exceptions; the backport has some under another name."""
    found = part("exceptions")
    return getattr(found, name, None) or getattr(found, f"{name}Error")


def normalize_json(value: Any) -> Any:
    """The value as JSON would bring it back; TypeError or ValueError for what JSON has not."""
    home = "django.utils.json" if _PACKAGE == "django.tasks" else "django_tasks.utils"
    return importlib.import_module(home).normalize_json(value)
