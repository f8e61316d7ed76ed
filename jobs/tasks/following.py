"""Callbacks: what `on_success`, `on_failure` and `on_finish` of a task come to, as followers.

Asked by name wherever a job ends, in any process of the site.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from jobs import conf
from jobs.errors import InvalidTask, JobsError

from . import registry

if TYPE_CHECKING:
    from jobs.lifecycle.follow import Follower

    from .definition import Task

logger = logging.getLogger("jobs")

# In which states of a job each is queued.
WHEN = {
    "on_success": ("succeeded",),
    "on_failure": ("failed",),
    "on_finish": ("succeeded", "failed", "cancelled"),
}

# What those who come from elsewhere expect as its argument.
_NO_IDS = (int, str, dict, list)
# Rows may name anything.
_MOST_KNOWN = 4_096
_known: dict[str, tuple[Any, Sequence[Follower]]] = {}


def followers(name: str) -> Sequence[Follower]:
    """What follows jobs of the task of that name. What is wrong with it is logged, once: that a
    job has ended is to be written all the same."""
    settings = conf.settings()
    for_settings, found = _known.get(name, (None, ()))
    if for_settings is not settings:
        try:
            found = tuple(_followers(name))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Importing its module may raise anything.
            logger.error("nothing follows jobs of %s: %s", name, error)
            found = ()
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[name] = (settings, found)
    return found


def callbacks(task: Task[..., Any]) -> dict[str, Task[..., Any]]:
    """The task's callbacks by the option that names them; InvalidTask for one that is none."""
    from .definition import as_task

    found = {}
    for option in WHEN:
        named = getattr(task, option)
        if named is None:
            continue
        what = f"task {task.name}: {option}"
        try:
            callback = registry.resolve(named) if isinstance(named, str) else as_task(named)
            callback.check_call((UUID(int=0),), {}, what)
        except (JobsError, ImportError) as error:
            raise InvalidTask(f"{what}: {error}") from error
        if (wrong := _annotated_as(callback)) is not None:
            raise InvalidTask(
                f"{what}: {callback.name} is called with the id of the job that has ended, a UUID, "
                f"and its argument is annotated {wrong.__name__}"
            )
        if isinstance(callback.run_after, datetime):
            raise InvalidTask(f"{what}: its run_after must be a timedelta, from the job's end on")
        # What JOBS["TASKS"] says of all tasks it says of this one, too: once is enough.
        if callback.name != task.name:
            found[option] = callback
    return found


def _annotated_as(callback: Task[..., Any]) -> type | None:
    """A type that the id is certainly none of, if its argument is said to be one."""
    [first, *_] = callback.signature.parameters.values()
    named = getattr(first.annotation, "__name__", first.annotation)
    return next((kind for kind in _NO_IDS if kind.__name__ == named), None)


def _followers(name: str) -> list[Follower]:
    from jobs.lifecycle.follow import Follower

    from .call import checked, draft

    try:
        task = registry.resolve(name)
    except (JobsError, ImportError):
        # Nobody here knows it: older code, perhaps.
        return []
    return [
        Follower(name, state, draft(checked(callback)))
        for option, callback in callbacks(task).items()
        for state in WHEN[option]
    ]
