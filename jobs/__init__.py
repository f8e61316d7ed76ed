"""Background jobs for Django, kept in PostgreSQL: the public face, and nothing else.

Names are brought on first use, since this package is imported before Django's models are.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import Cancel, Retry, Snooze
    from .execution import Context, current_context
    from .models import Job
    from .retry import exponential
    from .tasks import (
        Task,
        aenqueue,
        aenqueue_many,
        enqueue,
        enqueue_many,
        enqueue_on_commit,
        task,
    )

__version__ = "0.1.0"

_HOMES = {
    "Cancel": "errors",
    "Context": "execution",
    "Job": "models",
    "Retry": "errors",
    "Snooze": "errors",
    "Task": "tasks",
    "aenqueue": "tasks",
    "aenqueue_many": "tasks",
    "current_context": "execution",
    "enqueue": "tasks",
    "enqueue_many": "tasks",
    "enqueue_on_commit": "tasks",
    "exponential": "retry",
    "task": "tasks",
}

__all__ = [
    "Cancel",
    "Context",
    "Job",
    "Retry",
    "Snooze",
    "Task",
    "aenqueue",
    "aenqueue_many",
    "current_context",
    "enqueue",
    "enqueue_many",
    "enqueue_on_commit",
    "exponential",
    "task",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    # Found by ordinary look-up from now on.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
