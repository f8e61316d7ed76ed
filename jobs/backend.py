"""The backend for Django's own task API: `"BACKEND": "jobs.backend.JobsBackend"` in TASKS.

In Django from 6.0 on; before it with the backport `django-tasks`. A job that is enqueued so is
the same row as any other.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import UUID

from django.core.checks import Error

from . import compat
from .codec import decode
from .errors import JobsError
from .execution.told import error_of
from .models import Job, State
from .models.references import load
from .outcomes import EXPIRED, LOST
from .retry import Backoff
from .tasks import as_task, call
from .tasks.options import OF_DJANGO, check_options
from .tasks.registry import find

_base: Any = compat.part("base")
_signals: Any = compat.part("signals")
_backends: Any = compat.part("backends.base")
_Task: Any = _base.Task

# What `OPTIONS` of a backend may say of all its tasks.
_OPTIONS = ("max_attempts", "backoff", "max_losses", "timeout", "expires_after", "keep_result")


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
    sensitive: tuple[str, ...] | None = None
    metadata: Mapping[str, Any] | None = None

    def using(self, **options: Any) -> Any:
        """A copy with other options, Django's own or these; `run_after` may be a timedelta."""
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
        self.job_options: dict[str, Any] = {
            str(name).lower(): value for name, value in self.options.items()
        }

    def validate_task(self, task: Any) -> None:
        """Django's own rules, but that `run_after` may be a timedelta; then ours."""
        if isinstance(task.run_after, timedelta):
            names = ("func", "priority", "takes_context", "queue_name")
            shown = SimpleNamespace(run_after=None, **{n: getattr(task, n) for n in names})
            super().validate_task(shown)
        else:
            super().validate_task(task)
        own = {name: getattr(task, name, None) for name in OF_DJANGO}
        try:
            check_options(
                {name: value for name, value in own.items() if value is not None},
                f"task {task.module_path}",
            )
        except JobsError as error:
            raise compat.exception("InvalidTask")(str(error)) from error

    def enqueue(self, task: Any, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Any:
        """Insert a job in the caller's transaction; its TaskResult.

        TypeError or ValueError for arguments that JSON does not have.
        """
        self.validate_task(task)
        args, kwargs = compat.normalize_json(list(args)), compat.normalize_json(dict(kwargs))
        job = call.insert_one(as_task(task), tuple(args), kwargs)
        result = self._result(job, task, [])
        _signals.task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: Any) -> Any:
        """The TaskResult of that id; TaskResultDoesNotExist, for an id that is none, too."""
        try:
            job = call.get_job(UUID(str(result_id)))
        except (ValueError, Job.DoesNotExist):
            raise compat.exception("TaskResultDoesNotExist")(result_id) from None
        return self._result(job, self._restored(job), list(job.history_of_attempts))

    def check(self, **kwargs: Any) -> list[Any]:
        """Each option by its name and value."""
        wrong = []
        for name, value in self.options.items():
            own = str(name).lower()
            if own not in _OPTIONS or str(name) != str(name).upper():
                known = [option.upper() for option in _OPTIONS]
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
        """The task as it was enqueued, whatever the settings say of its queue by now."""
        found = find(job.task)
        source = found if hasattr(found, "module_path") else SimpleNamespace(func=found)
        cls = type(found) if isinstance(found, _Task) else self.task_class
        made = object.__new__(cls)
        own = {"priority": job.priority, "queue_name": job.queue_name, "backend": self.alias}
        if job.run_at > job.enqueued_at and not job.failures:
            own["run_after"] = job.run_at
        for field in fields(cls):
            value = own.get(field.name, getattr(source, field.name, field.default))
            object.__setattr__(made, field.name, value)
        return made

    def _result(self, job: Job[Any], task: Any, history: list[Any]) -> Any:
        started = [one for one in history if one.started_at is not None]
        workers = [one.worker or "" for one in started]
        if job.state in (State.RUNNING, State.SUCCEEDED):
            workers.append(job.worker or "")
        first = started[0].started_at if started else job.last_attempted_at
        result = _base.TaskResult(
            task=task,
            id=str(job.pk),
            status=_base.TaskResultStatus[job.status],
            enqueued_at=job.enqueued_at,
            started_at=first,
            finished_at=job.finished_at,
            last_attempted_at=job.last_attempted_at,
            args=[decode(value, load) for value in job.args],
            kwargs={name: decode(value, load) for name, value in job.kwargs.items()},
            backend=self.alias,
            errors=_errors(job, history),
            worker_ids=workers,
        )
        if job.state == State.SUCCEEDED:
            object.__setattr__(result, "_return_value", job.return_value)
        return result


def _errors(job: Job[Any], history: list[Any]) -> list[Any]:
    """One for each attempt that raised; and one for a job that ended without any."""
    errors = [error_of(one) for one in history if one.exception_class_path]
    if errors or job.status != "FAILED":
        return errors
    kind = {EXPIRED: "JobExpired", LOST: "JobLost"}.get(job.reason or "", "JobCancelled")
    told = job.cancelled_because or job.reason or ""
    return [
        _base.TaskError(exception_class_path=f"jobs.errors.{kind}", traceback=f"{kind}: {told}\n")
    ]
