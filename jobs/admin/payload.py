"""What people may see of arguments: not what a task calls sensitive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.errors import JobsError
from jobs.tasks import resolve

HIDDEN = "••••••"


def without_sensitive(task_name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, but for those that the task calls sensitive. Unknown task: none at all."""
    args, kwargs = arguments["args"], arguments["kwargs"]
    try:
        task = resolve(task_name)
    except (JobsError, ImportError):
        return {"args": [HIDDEN] * len(args), "kwargs": dict.fromkeys(kwargs, HIDDEN)}
    names = task.argument_names
    return {
        "args": [
            HIDDEN if i < len(names) and names[i] in task.sensitive else value
            for i, value in enumerate(args)
        ],
        "kwargs": {
            name: HIDDEN if name in task.sensitive else value for name, value in kwargs.items()
        },
    }


def with_kept(shown: Any, kept: Any) -> Any:
    """What somebody sends back, with what was hidden from them as it was kept."""
    if isinstance(shown, list):
        return [
            kept[i] if value == HIDDEN and i < len(kept) else value for i, value in enumerate(shown)
        ]
    if isinstance(shown, dict):
        return {
            name: kept[name] if value == HIDDEN and name in kept else value
            for name, value in shown.items()
        }
    return shown
