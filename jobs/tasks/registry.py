"""Names: from a task to the text in a row, and back; and what a site lets jobs run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.signals import setting_changed

from jobs import conf
from jobs.errors import InvalidTask, TaskNotAllowed, TaskNotFound

from .options import CONFIGURABLE, check_names, check_options

if TYPE_CHECKING:
    from .definition import Task

_by_name: dict[str, Task[..., Any]] = {}
_by_function: dict[Any, Task[..., Any]] = {}
# Tasks of Django's own API that somebody's decorator has made, by their path.
_declared: dict[str, Any] = {}
# Rises with whatever may make another task of a name: for those who remember what one was.
generation = 0


def register(task: Task[..., Any]) -> Task[..., Any]:
    """Let the task be found by its name and aliases; InvalidTask when one is taken."""
    for name in (task.name, *task.aliases):
        other = _by_name.get(name)
        # The same function again is a module that was loaded anew, or task(func).using().
        if other is not None and other.module_path != task.module_path:
            raise InvalidTask(
                f"two tasks are called {name!r}: {other.module_path} and {task.module_path}; "
                "give one of them another name="
            )
    known = _by_function.get(task.func)
    if known is not None:
        return known
    global generation
    generation += 1
    _by_function[task.func] = task
    for name in (task.name, *task.aliases):
        _by_name[name] = task
    return task


def declare(task: Any) -> None:
    """Somebody's code has made this task by Django's own decorator: its function may be a job, also
    where its package is no app (Wagtail's search index has its tasks in one)."""
    global generation
    known = _declared.setdefault(task.module_path, task)
    if known is task:
        generation += 1


def declared() -> Mapping[str, Any]:
    """The tasks of Django's own API in this process, by path."""
    return dict(_declared)


def registered() -> Mapping[str, Task[..., Any]]:
    """The tasks of this process by name, without aliases."""
    return {name: task for name, task in sorted(_by_name.items()) if name == task.name}


def of_function(func: Any) -> Task[..., Any] | None:
    """The task that was made of this function, if any."""
    try:
        return _by_function.get(func)
    except TypeError:
        return None


def sender_of(task: Task[..., Any]) -> Any:
    """Who sends the signals of its jobs: the task as `@task` made it, or the function."""
    return _by_function.get(task.func, task.func)


def resolve(name: str) -> Task[..., Any]:
    """The task of a row's name, with the site's settings for it.

    TaskNotFound when this process has none (older code, perhaps); TaskNotAllowed when the
    function lies outside what the site lets jobs run: nothing is imported for it then.
    """
    name = conf.settings().task_aliases.get(name, name)
    task = _by_name.get(name)
    if task is None:
        # Deferred: definition.py registers here.
        from .definition import as_task

        task = as_task(find(name))
    check_allowed(task)
    return configured(task)


def configured(task: Task[..., Any]) -> Task[..., Any]:
    """Return the task with the site's settings for it.

    From the weakest to the strongest: JOBS["DEFAULTS"], the code (`@task(…)`), JOBS["TASKS"], and
    `.using()`.
    """
    settings = conf.settings()
    if not settings.tasks and not settings.defaults:
        return task
    # Kept on the task itself, and so no longer than it.
    made: Task[..., Any]
    for_settings, made = task.__dict__.get("_configured", (None, task))
    if for_settings is not settings:
        weaker, stronger = _options_for(task.name)
        options = {name: value for name, value in weaker.items() if name not in task.declared}
        options |= stronger
        options = {name: value for name, value in options.items() if name not in task.given}
        made = replace(task, **options) if options else task
        task.__dict__["_configured"] = (settings, made)
    return made


@cache
def _options_for(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that the settings give a task: below those of its code, and above."""
    settings = conf.settings()
    both: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for found, setting, patterns in zip(
        both, _PATTERNS, (settings.defaults, settings.tasks), strict=True
    ):
        for pattern, options in patterns.items():
            if fnmatchcase(name, pattern):
                found |= check_configured(pattern, options, setting)
    return both


_PATTERNS = ("DEFAULTS", "TASKS")


def check_configured(
    pattern: str, options: Mapping[str, Any], setting: str = "TASKS"
) -> dict[str, Any]:
    """Return the options of a pattern in JOBS["TASKS"] or JOBS["DEFAULTS"].

    Raise InvalidTask for options that make no sense.
    """
    owner = f"JOBS[{setting!r}][{pattern!r}]"
    check_names(options, CONFIGURABLE, owner)
    made = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    check_options(made, owner)
    return made


def check_allowed(task: Task[..., Any]) -> None:
    """TaskNotAllowed unless the task's function is the site's own, or named in JOBS."""
    path, module = task.module_path, task.func.__module__
    if _is_ours(module) and _by_function.get(task.func) is None:
        raise TaskNotAllowed(
            f"{path} may not be a job: it is a function of jobs itself, and no task"
        )
    if path in conf.settings().allowed_functions or _is_own(module):
        return
    if path in _declared and _declared[path].func is task.func:
        return
    raise TaskNotAllowed(
        f"{path} may not be a job: {module} is not part of an installed app or of this site. "
        f"Add its app to INSTALLED_APPS, or '{path}' to JOBS['ALLOWED_FUNCTIONS']."
    )


@cache
def _is_ours(module: str) -> bool:
    """Of this package, only what it declares as a task may be a job."""
    return module.split(".", 1)[0] == __name__.split(".", 1)[0]


def _is_own(module: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in _packages())


@cache
def _packages() -> frozenset[str]:
    apps.check_apps_ready()
    site = getattr(django_settings, "ROOT_URLCONF", None) or ""
    return frozenset(
        {config.name for config in apps.get_app_configs()}
        | ({site.partition(".")[0]} if site else set())
    )


def find(path: str) -> Any:
    """What a dotted path names: a function whose own module and name it is, or a task of it.

    TaskNotFound, or TaskNotAllowed: nothing outside of the site's own is imported for it.
    """
    module_name, names = _split(path)
    found: Any = sys.modules[module_name]
    for name in names:
        found = getattr(found, name, None)
    if found is None:
        raise TaskNotFound(f"there is no task {path!r}: {module_name} has no {'.'.join(names)}")
    func = found.func if hasattr(found, "module_path") else found
    own = f"{getattr(func, '__module__', None)}.{getattr(func, '__qualname__', None)}"
    if own != path:
        raise TaskNotAllowed(
            f"{path} may not be a job: what stands there is {own}, which was only imported there"
        )
    return found


def _split(path: str) -> tuple[str, list[str]]:
    """The longest part of a path that is a module, imported, and the names behind it."""
    listed = path in conf.settings().allowed_functions
    words = path.split(".")
    if path in _declared:
        # Its module is there already.
        cut = _declared[path].func.__module__.count(".") + 1
        return ".".join(words[:cut]), words[cut:]
    for cut in range(len(words) - 1, 0, -1):
        module_name = ".".join(words[:cut])
        if not (listed or _is_own(module_name)):
            continue
        try:
            importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # What is missing may be an import inside of a module that is there.
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            continue
        return module_name, words[cut:]
    if listed or _is_own(path):
        raise TaskNotFound(f"there is no task {path!r}: no module of that name can be imported")
    raise TaskNotAllowed(
        f"{path} may not be a job. Add its app to INSTALLED_APPS, or '{path}' to "
        "JOBS['ALLOWED_FUNCTIONS']: it is neither a task's name known here, nor part of an "
        "installed app or of this site."
    )


def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("JOBS", "INSTALLED_APPS", "ROOT_URLCONF", "TASKS"):
        global generation
        generation += 1
        _packages.cache_clear()
        _options_for.cache_clear()


setting_changed.connect(_forget, dispatch_uid="jobs.tasks.registry")
