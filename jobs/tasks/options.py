"""What can be said of a task, and what is refused: pure checks, one sentence each."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from jobs.bounds import LAST_MOMENT, LONGEST_DELAY, MOST_ATTEMPTS, is_text
from jobs.errors import InvalidTask

# What `.using()` takes: options of one call.
USING = frozenset(
    {
        "queue_name",
        "priority",
        "run_after",
        "max_attempts",
        "max_losses",
        "timeout",
        "expires_after",
        "metadata",
    }
)
# What JOBS["TASKS"] may set without touching the code.
CONFIGURABLE = (USING - {"run_after", "metadata"}) | {
    "backoff",
    "keep_result",
    "retention",
    "retry_on",
    "dont_retry_on",
    "on_success",
    "on_failure",
    "on_finish",
}
# What a task of Django's own API may say, too (jobs.backend).
OF_DJANGO = (
    "max_attempts",
    "backoff",
    "retry_on",
    "dont_retry_on",
    "max_losses",
    "timeout",
    "expires_after",
    "atomic",
    "keep_result",
    "retention",
    "sensitive",
    "metadata",
    "on_success",
    "on_failure",
    "on_finish",
)


_NO_TEXT = "it contains a NUL character or half of a surrogate pair, which PostgreSQL cannot keep"
# Where functions live that were typed or started, and not imported.
_NOT_IMPORTED = (None, "__main__", "django.core.management.commands.shell")
# What people who come from Celery and Django's ecosystem write first.
_ELSEWHERE = {
    "autoretry_for": "retry_on",
    "bind": "takes_context",
    "countdown": "run_after",
    "default_retry_delay": "backoff",
    "delay": "run_after",
    "eta": "run_after",
    "expires": "expires_after",
    "link": "on_success",
    "link_error": "on_failure",
    "max_retries": "max_attempts",
    "queue": "queue_name",
    "result_expires": "retention",
    "reject_on_worker_lost": "max_losses",
    "acks_late": "max_losses",
    "retry_backoff": "backoff",
    "soft_time_limit": "timeout",
    "throws": "dont_retry_on",
    "time_limit": "timeout",
}
# What has no option of that kind, and what there is instead.
_INSTEAD = {
    "base": "there are no task classes: use a decorator, callbacks (on_success, …) or signals",
    "ignore_result": "use keep_result=False",
    "on_retry": "connect a receiver to jobs.signals.job_retried",
    "rate_limit": "there are no rate limits yet: give its queue a worker of few slots",
    "retry_backoff_max": "use backoff=exponential(maximum=…)",
    "retry_jitter": "use backoff=exponential(jitter=…)",
    "serializer": "arguments are always JSON",
    "store_errors_even_if_ignored": "errors are always kept",
    "task_id": "ids are made by jobs: keep job.pk",
    "track_started": "the state running is always kept",
}


def check_function(func: Any) -> None:
    """InvalidTask unless a worker could find the function by its name."""
    if not inspect.isfunction(func):
        raise InvalidTask(f"{func!r} cannot be a job: {_why_not(func)}")
    if func.__name__ == "<lambda>":
        raise InvalidTask("a lambda cannot be a job: it has no name to find it by; write a def")
    if func.__module__ in _NOT_IMPORTED:
        raise InvalidTask(
            f"{func.__qualname__} cannot be a job: it was typed into a shell, or lives in the "
            "script that was started, and a worker can import neither; move it to a module of "
            "an app"
        )
    if "<locals>" in func.__qualname__:
        raise InvalidTask(
            f"{func.__module__}: {func.__qualname__} cannot be a job: a function inside a function "
            "cannot be found by name. Move it to the module's level and pass what it needs as "
            "arguments; if it is a decorator's wrapper, give it functools.wraps, and put @task "
            "above the other decorators."
        )
    if "." in func.__qualname__ and next(iter(inspect.signature(func).parameters), "") == "self":
        raise InvalidTask(
            f"{func.__qualname__} cannot be a job: it is a method, and its object is not kept; "
            "write a function that gets the object's key"
        )


def _why_not(func: Any) -> str:
    if inspect.ismethod(func):
        return "a bound method carries its object; pass the object's key to a function"
    if isinstance(func, str):
        return "it is a text; pass the function itself, not its name"
    if inspect.isclass(func):
        return "it is a class; pass a function that uses it"
    if inspect.isbuiltin(func):
        return "it is not written in Python; wrap it in a function of your own"
    if hasattr(func, "func") and hasattr(func, "args"):
        return "a partial has no name; enqueue its function with all arguments"
    return (
        "only functions defined with def or async def can be; "
        "is it what the function returned: enqueue(f(1)) for enqueue(f, 1)?"
    )


def check_options(options: Mapping[str, Any], owner: str) -> None:
    """InvalidTask for the first option whose value makes no sense."""
    for name, value in options.items():
        wrong = _CHECKS[name](value) if name in _CHECKS else None
        if wrong:
            raise InvalidTask(f"{owner}: {name} is {value!r}; {wrong}")


def check_names(names: Iterable[str], allowed: Iterable[str], owner: str) -> None:
    """InvalidTask for the first name that is no option, with the nearest that is."""
    allowed = sorted(allowed)
    for name in names:
        if name in _INSTEAD and name not in allowed:
            raise InvalidTask(f"{owner} has no option {name}; {_INSTEAD[name]}")
        if name not in allowed:
            known_as = _ELSEWHERE.get(name, name)
            near = difflib.get_close_matches(known_as, allowed, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(allowed)}"
            raise InvalidTask(f"{owner} has no option {name}; {hint}")


def _priority(value: Any) -> str | None:
    fits = type(value) is int and -100 <= value <= 100
    return None if fits else "it must be a whole number from -100 to 100; higher runs first"


def _queue_name(value: Any) -> str | None:
    fits = isinstance(value, str) and 0 < len(value) <= 128
    if not fits:
        return "it must be a name of 1 to 128 characters"
    if not is_text(value):
        return _NO_TEXT
    # runworker takes several names with commas between them.
    return (
        "it must have no commas and no outer blanks"
        if value != value.strip(" ,") or "," in value
        else None
    )


def _attempts(value: Any) -> str | None:
    fits = value is None or (type(value) is int and 1 <= value <= MOST_ATTEMPTS)
    return None if fits else "it must be a whole number of at least 1"


def _losses(value: Any) -> str | None:
    fits = value is None or (type(value) is int and 0 <= value <= MOST_ATTEMPTS)
    return None if fits else "it must be a whole number of at least 0"


def _duration(value: Any) -> str | None:
    fits = value is None or (isinstance(value, timedelta) and timedelta(0) < value <= LONGEST_DELAY)
    return None if fits else "it must be a timedelta greater than zero, of 1,000 years at most"


def _retention(value: Any) -> str | None:
    fits = value is None or (isinstance(value, timedelta) and value > timedelta(0))
    return None if fits else "it must be a timedelta greater than zero; timedelta.max is for ever"


def _run_after(value: Any) -> str | None:
    if isinstance(value, datetime) and value.tzinfo is None:
        return "it must know its time zone; see django.utils.timezone.make_aware"
    if isinstance(value, timedelta) and value > LONGEST_DELAY:
        return "it must be no more than 1,000 years"
    if isinstance(value, datetime) and value > LAST_MOMENT:
        return f"it must not be after the year {LAST_MOMENT.year}"
    fits = value is None or isinstance(value, datetime | timedelta)
    return None if fits else "it must be a timedelta, or a datetime with a time zone"


def _exceptions(value: Any) -> str | None:
    fits = isinstance(value, tuple) and all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in value
    )
    return None if fits else "it must be a tuple of exception classes"


def _backoff(value: Any) -> str | None:
    fits = (
        value is None
        or callable(value)
        or (isinstance(value, timedelta) and timedelta(0) <= value <= LONGEST_DELAY)
    )
    return (
        None
        if fits
        else "it must be a timedelta of 1,000 years at most, or a function of (exception, context)"
    )


def _callback(value: Any) -> str | None:
    if isinstance(value, str) and not is_text(value):
        return _NO_TEXT
    fits = value is None or callable(value) or (isinstance(value, str) and value != "")
    return None if fits else "it must be a task, a function, or the name of a task"


def _metadata(value: Any) -> str | None:
    fits = value is None or (isinstance(value, Mapping) and all(isinstance(k, str) for k in value))
    return None if fits else "it must be a dict with names as keys"


def _names(value: Any) -> str | None:
    fits = isinstance(value, tuple) and all(is_text(name) for name in value)
    return None if fits else "it must be a list of names"


def _name(value: Any) -> str | None:
    fits = isinstance(value, str) and 0 < len(value) <= 255
    if not fits:
        return "it must be a text of 1 to 255 characters"
    return None if is_text(value) else _NO_TEXT


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "aliases": _names,
    "backoff": _backoff,
    "dont_retry_on": _exceptions,
    "expires_after": _duration,
    "max_attempts": _attempts,
    "max_losses": _losses,
    "metadata": _metadata,
    "name": _name,
    "on_failure": _callback,
    "on_finish": _callback,
    "on_success": _callback,
    "priority": _priority,
    "queue_name": _queue_name,
    "retention": _retention,
    "retry_on": _exceptions,
    "run_after": _run_after,
    "sensitive": _names,
    "timeout": _duration,
}
