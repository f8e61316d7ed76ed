"""Callbacks: what `on_success`, `on_failure` and `on_finish` of a task come to, as followers.

Asked by name wherever a job ends, in any process of the site.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
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
    """What follows jobs of the task of that name. What is wrong with it is logged: that a job has
    ended is to be written all the same."""
    now = (conf.settings(), registry.generation)
    for_now, found = _known.get(name, (None, ()))
    if for_now == now:
        return found
    try:
        task = registry.resolve(name)
    except KeyboardInterrupt:
        raise
    except (JobsError, ImportError):
        # Nobody here knows it: older code, perhaps. Who asks again may.
        return ()
    except BaseException as error:
        # Importing its module may raise anything.
        logger.error("nothing follows jobs of %s: %s", name, error)
        return ()
    found = tuple(_followers(task, name))
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    # Its module may have been imported just now.
    _known[name] = ((conf.settings(), registry.generation), found)
    return found


def names_one(task: Task[..., Any], option: str) -> bool:
    """Whether it has a callback of that kind.

    What JOBS["TASKS"] says of many tasks it does not say of those that it names as callbacks: else
    each end of one would queue another, for ever. Nor does a task follow itself.
    """
    named = getattr(task, option)
    if named is None or named == task.name or getattr(named, "name", None) == task.name:
        return False
    as_written = registry.of_function(task.func) or task.django
    is_of_settings = getattr(as_written, option, None) is None
    return not (is_of_settings and task.name in _named_in_settings())


def _named_in_settings() -> set[Any]:
    settings = conf.settings()
    patterns = (*settings.defaults.values(), *settings.tasks.values())
    return {
        getattr(options[option], "name", options[option])
        for options in patterns
        for option in WHEN
        if option in options
    }


def callback(task: Task[..., Any], option: str) -> Task[..., Any]:
    """The callback of that kind; InvalidTask for one that is none, or could not be enqueued."""
    from .call import checked, draft
    from .definition import as_task

    what = f"task {task.name}: {option}"
    named = getattr(task, option)
    try:
        found = registry.resolve(named) if isinstance(named, str) else as_task(named)
        found.check_call((UUID(int=0),), {}, what)
        found = checked(found)
        draft(found)
    except (JobsError, ImportError) as error:
        raise InvalidTask(f"{what}: {error}") from error
    if (wrong := _annotated_as(found)) is not None:
        raise InvalidTask(
            f"{what}: {found.name} is called with the id of the job that has ended, a UUID, "
            f"and its argument is annotated {wrong.__name__}"
        )
    if isinstance(found.run_after, datetime):
        raise InvalidTask(f"{what}: its run_after must be a timedelta, from the job's end on")
    return found


def _annotated_as(callback: Task[..., Any]) -> type | None:
    """A type that the id is certainly none of, if its argument is said to be one."""
    [first, *_] = callback.signature.parameters.values()
    named = getattr(first.annotation, "__name__", first.annotation)
    return next((kind for kind in _NO_IDS if kind.__name__ == named), None)


def _followers(task: Task[..., Any], name: str) -> Iterator[Follower]:
    from jobs.lifecycle.follow import Follower

    from .call import draft

    for option, states in WHEN.items():
        try:
            if not names_one(task, option):
                continue
            made = draft(callback(task, option))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # One that is none must not take the others with it.
            logger.error("nothing follows jobs of %s: %s", task.name, error)
            continue
        yield from (Follower(name, state, made) for state in states)
