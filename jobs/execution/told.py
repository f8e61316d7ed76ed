"""What Django's own task API is told of an attempt: signals, and the context that it knows.

Only for tasks of `django.tasks`. A signal's receiver that raises is logged, and hurts nobody.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from jobs import codec, compat, conf, ids
from jobs.models import Attempt
from jobs.models.references import load
from jobs.outcomes import Cancelled, Failed, Outcome, Problem

if TYPE_CHECKING:
    from jobs.lifecycle import Claimed
    from jobs.tasks import Task


class Told:
    """One attempt. Starting it sends `task_started`."""

    def __init__(self, task: Task[..., Any], job: Claimed, worker: str) -> None:
        base = compat.part("base")
        django_task = task.django
        args, kwargs = codec.read_call(job.arguments, load)
        before = _before(job)
        self._job = job
        self._sender = type(django_task.get_backend())
        self._signals = compat.part("signals")
        self.result = base.TaskResult(
            task=django_task,
            id=job.id,
            status=base.TaskResultStatus.RUNNING,
            enqueued_at=ids.moment_of(UUID(job.id)),
            started_at=before[0].started_at if before else _moment(job.started_at),
            last_attempted_at=_moment(job.started_at),
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=django_task.backend,
            errors=[error_of(one) for one in before if one.exception_class_path],
            worker_ids=[*(one.worker or "" for one in before), worker],
        )
        self._signals.task_started.send_robust(sender=self._sender, task_result=self.result)

    @property
    def context(self) -> Any:
        return compat.part("base").TaskContext(task_result=self.result)

    def succeeded(self, value: Any) -> None:
        self._end("SUCCESSFUL", value)

    def ended(self, outcome: Outcome) -> None:
        """After an exception, and while it is being handled: Django logs it with its traceback.
        Nothing is said of an attempt that another follows."""
        if isinstance(outcome, Failed | Cancelled):
            self.result.errors.append(_error(outcome.problem))
            self._end("FAILED", None)

    def _end(self, status: str, value: Any) -> None:
        statuses = compat.part("base").TaskResultStatus
        for name, item in (
            ("status", statuses[status]),
            ("finished_at", _moment(self._job.now())),
            ("_return_value", value),
        ):
            # It is frozen, and mutated so by Django's own backends.
            object.__setattr__(self.result, name, item)
        self._signals.task_finished.send_robust(sender=self._sender, task_result=self.result)


def error_of(attempt: Attempt) -> Any:
    """The TaskError of an attempt."""
    return compat.part("base").TaskError(
        exception_class_path=attempt.exception_class_path, traceback=attempt.traceback
    )


def _error(problem: Problem) -> Any:
    return compat.part("base").TaskError(
        exception_class_path=problem.exception_class, traceback=problem.traceback
    )


def _before(job: Claimed) -> list[Attempt]:
    """The attempts before this one that had started (a query, after the first)."""
    if job.attempt <= 1:
        return []
    history = Attempt.objects.using(conf.settings().database).filter(job_id=job.id)
    return list(history.filter(started_at__isnull=False).order_by("attempt"))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def as_json(value: Any) -> Any:
    """What Django's API lets a task return, as it comes back; TypeError for what it does not."""
    return json.loads(json.dumps(compat.normalize_json(value)))
