"""The backend for Django's own task API: `"BACKEND": "jobs.backend.JobsBackend"` in TASKS.

In Django from 6.0 on; before it with the backport `django-tasks`. A job that is enqueued so is
the same row as any other.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import UUID

from django.core.checks import Error
from django.core.exceptions import ObjectDoesNotExist
from django.db import DEFAULT_DB_ALIAS, connections

from . import compat
from .errors import JobsError, TaskNotFound
from .execution.told import error_of
from .models import Job, State
from .outcomes import EXPIRED, LOST
from .retry import Backoff
from .tasks import Task, as_task, call, registry, resolve
from .tasks.definition import Callback
from .tasks.options import USING, check_options

_base: Any = compat.part("base")
_signals: Any = compat.part("signals")
_backends: Any = compat.part("backends.base")
_Task: Any = _base.Task

# What `OPTIONS` of a backend may say of all its tasks.
_OPTIONS = (
    "max_attempts",
    "backoff",
    "max_losses",
    "timeout",
    "expires_after",
    "keep_result",
    "retention",
)
# And where they are kept.
_DATABASE = "DATABASE"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsTask(_Task):  # type: ignore[misc]
    """Django's Task, with our options. None: what the backend's OPTIONS say, or the default."""

    max_attempts: int | None = None
    backoff: Backoff | None = None
    retry_on: tuple[type[BaseException], ...] | None = None
    dont_retry_on: tuple[type[BaseException], ...] | None = None
    max_losses: int | None = None
    timeout: timedelta | None = None
    expires_after: timedelta | None = None
    atomic: bool | None = None
    keep_result: bool | None = None
    retention: timedelta | None = None
    sensitive: tuple[str, ...] | None = None
    metadata: Mapping[str, Any] | None = field(default=None, hash=False)
    on_success: Callback | None = None
    on_failure: Callback | None = None
    on_finish: Callback | None = None

    def __post_init__(self) -> None:
        # No super(): a dataclass with slots is another class than the one that is written here.
        _Task.__post_init__(self)
        registry.declare(self)

    def using(self, **options: Any) -> Any:
        """A copy with other options: Django's own, and those that a row keeps; what is None stays.

        `run_after` may be a timedelta.
        """
        if unknown := sorted(options.keys() - {"backend", *USING}):
            raise TypeError(f"using() got an unexpected keyword argument {unknown[0]!r}")
        return replace(self, **{k: v for k, v in options.items() if v is not None})


class JobsBackend(_backends.BaseTaskBackend):  # type: ignore[misc]
    """Jobs in PostgreSQL, in the caller's transaction."""

    task_class = JobsTask
    supports_defer: ClassVar[bool] = True
    supports_async_task: ClassVar[bool] = True
    supports_get_result: ClassVar[bool] = True
    supports_priority: ClassVar[bool] = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        # What is no option is for `check` to tell, not for the import of each task.
        given = {str(name).lower(): value for name, value in self.options.items()}
        self.job_options: dict[str, Any] = {name: given[name] for name in _OPTIONS if name in given}
        # Where its jobs are kept; empty: where JOBS says.
        self.database: str = self.options.get(_DATABASE) or ""

    def validate_task(self, task: Any) -> None:
        """Django's own rules, but that `run_after` may be a timedelta; then ours."""
        self._checked(task)

    def _checked(self, task: Any) -> Task[..., Any]:
        """Our task of Django's; its InvalidTask."""
        if isinstance(task.run_after, timedelta):
            names = ("func", "priority", "takes_context", "queue_name")
            shown = SimpleNamespace(run_after=None, **{n: getattr(task, n) for n in names})
            super().validate_task(shown)
        else:
            super().validate_task(task)
        try:
            ours = as_task(task)
        except JobsError as error:
            raise compat.exception("InvalidTask")(str(error)) from error
        if ours.atomic and self.database not in ("", DEFAULT_DB_ALIAS):
            raise compat.exception("InvalidTask")(
                f"task {ours.name} is atomic, and TASKS[{self.alias!r}] keeps its jobs in the "
                f"database {self.database!r}: what it writes elsewhere would not commit with its "
                "end"
            )
        return ours

    def enqueue(self, task: Any, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Any:
        """Insert a job in the caller's transaction; its TaskResult.

        TypeError or ValueError for arguments that JSON does not have.
        """
        ours = self._checked(task)
        args, kwargs = compat.normalize_json(list(args)), compat.normalize_json(dict(kwargs))
        job = call.insert_one(ours, tuple(args), kwargs, using=self.database)
        if (job.queue_name, job.priority) != (task.queue_name, task.priority):
            # JOBS["TASKS"] has another queue for it.
            task = self._restored(job)
        # Tests may have let it run by now.
        result = self._result(job, task, list(job.history_of_attempts) if job.attempt else [])
        _signals.task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: Any) -> Any:
        """The TaskResult of that id; TaskResultDoesNotExist, for an id that is none, too."""
        try:
            job = call.get_job(UUID(str(result_id)), using=self.database)
        except (ValueError, Job.DoesNotExist):
            raise compat.exception("TaskResultDoesNotExist")(result_id) from None
        return self._result(job, self._restored(job), list(job.history_of_attempts))

    def check(self, **kwargs: Any) -> list[Any]:
        """Each option by its name and value."""
        wrong = []
        for name, value in self.options.items():
            own = str(name).lower()
            if name == _DATABASE:
                if value not in connections.settings:
                    told = f"TASKS[{self.alias!r}]['OPTIONS']['DATABASE'] is {value!r}."
                    hint = f"DATABASES has: {', '.join(sorted(connections.settings))}."
                    wrong.append(Error(told, hint=hint, id="jobs.E009"))
                continue
            if own not in _OPTIONS or str(name) != str(name).upper():
                known = [_DATABASE, *(option.upper() for option in _OPTIONS)]
                near = difflib.get_close_matches(str(name).upper(), known, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
                told = f"TASKS[{self.alias!r}]['OPTIONS'] has no option {name!r}."
                wrong.append(Error(told, hint=hint, id="jobs.E009"))
                continue
            try:
                check_options({own: value}, f"TASKS[{self.alias!r}]['OPTIONS']")
            except JobsError as error:
                wrong.append(Error(str(error), id="jobs.E009"))
        return wrong

    def _restored(self, job: Job[Any]) -> Any:
        """The task as it was enqueued, whatever the settings, or the code, say of it by now."""
        try:
            ours = resolve(job.task)
            source = ours.django or ours
        except (JobsError, ImportError):
            source = SimpleNamespace(func=_vanished(job.task))
        cls = type(source) if isinstance(source, _Task) else self.task_class
        made = object.__new__(cls)
        own = {"priority": job.priority, "queue_name": job.queue_name, "backend": self.alias}
        if job.run_at > job.enqueued_at and not job.attempt:
            own["run_after"] = job.run_at
        for item in fields(cls):
            fallback = (
                getattr(source, item.name, item.default)
                if cls is type(source)
                else (source.func if item.name == "func" else item.default)
            )
            object.__setattr__(made, item.name, own.get(item.name, fallback))
        return made

    def _result(self, job: Job[Any], task: Any, history: list[Any]) -> Any:
        started = [one for one in history if one.started_at is not None]
        workers = [one.worker or "" for one in started]
        if job.state in (State.RUNNING, State.SUCCEEDED):
            workers.append(job.worker or "")
        first = started[0].started_at if started else job.last_attempted_at
        if not workers:
            # Claimed and given back: it never started.
            first = None
        result = _base.TaskResult(
            task=task,
            id=str(job.pk),
            status=_base.TaskResultStatus[job.status],
            enqueued_at=job.enqueued_at,
            started_at=first,
            finished_at=job.finished_at,
            last_attempted_at=job.last_attempted_at if workers else None,
            # As JSON has them: that is what Django's API knows.
            args=job.arguments["args"],
            kwargs=job.arguments["kwargs"],
            backend=self.alias,
            errors=_errors(job, history),
            worker_ids=workers,
        )
        if job.state == State.SUCCEEDED:
            object.__setattr__(result, "_return_value", _value(job))
        return result


def _value(job: Job[Any]) -> Any:
    """What it returned; as JSON has it, where what that names is gone by now."""
    try:
        return job.return_value
    except ObjectDoesNotExist:
        return job.result


def _errors(job: Job[Any], history: list[Any]) -> list[Any]:
    """One for each attempt that raised, and one that says why a job ended, where none does."""
    errors = [error_of(one) for one in history if one.exception_class_path]
    is_told = bool(errors) and job.state != State.CANCELLED
    if job.status != "FAILED" or is_told or _is_about_the_end(errors):
        return errors
    kind = {EXPIRED: "JobExpired", LOST: "JobLost"}.get(job.reason or "", "JobCancelled")
    told = f"{kind}: {job.cancelled_because or job.reason or ''}\n"
    return [*errors, _base.TaskError(exception_class_path=f"jobs.errors.{kind}", traceback=told)]


def _is_about_the_end(errors: list[Any]) -> bool:
    ends = ("JobCancelled", "JobExpired", "Cancel")
    return bool(errors) and errors[-1].exception_class_path.endswith(ends)


def _vanished(path: str) -> Any:
    """A function that stands for one that is no more, by its name."""

    def vanished(*args: Any, **kwargs: Any) -> None:
        raise TaskNotFound(f"there is no task {path!r} any more")

    module, _, name = path.rpartition(".")
    vanished.__module__, vanished.__qualname__, vanished.__name__ = module, name, name
    return vanished
