"""What Django's own task API is told of an attempt: signals, and the context that it knows.

Only for tasks of `django.tasks`. A signal's receiver that raises is logged, and hurts nobody.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from jobs import compat, conf, ids, signals
from jobs.models import Attempt
from jobs.outcomes import Cancelled, Committed, Failed, Outcome, Problem, Succeeded

if TYPE_CHECKING:
    from jobs.lifecycle import Claimed
    from jobs.tasks import Task


class Told:
    """One attempt. Making it sends `task_started`; `end` sends `task_finished`, if it was the last.

    Both outside of the task's own transaction, and of what may change how it ended.
    """

    def __init__(self, task: Task[..., Any], job: Claimed, worker: str) -> None:
        base = compat.part("base")
        django_task = task.django
        # As JSON has them: that is what Django's API knows.
        call = json.loads(job.arguments)
        before = _before(job)
        self._job = job
        self._sender = type(django_task.get_backend())
        # What the function returned, as JSON brings it back.
        self.value: Any = None
        self.result = base.TaskResult(
            task=django_task,
            id=job.id,
            status=base.TaskResultStatus.RUNNING,
            enqueued_at=ids.moment_of(UUID(job.id)),
            started_at=before[0].started_at if before else _moment(job.started_at),
            last_attempted_at=_moment(job.started_at),
            finished_at=None,
            args=call["args"],
            kwargs=call["kwargs"],
            backend=django_task.backend,
            errors=[error_of(one) for one in before if one.exception_class_path],
            worker_ids=[*(one.worker or "" for one in before), worker],
        )
        self._send("task_started")

    @property
    def context(self) -> Any:
        return compat.part("base").TaskContext(task_result=self.result)

    def returned(self, value: Any) -> Any:
        """The value as JSON brings it back; TypeError for what Django's API does not let return."""
        self.value = json.loads(json.dumps(compat.normalize_json(value)))
        return self.value

    def end(self, outcome: Outcome, exception: BaseException | None) -> None:
        """Nothing is said of an attempt that another follows."""
        if isinstance(outcome, Succeeded | Committed):
            self._end("SUCCESSFUL", self.value)
        elif isinstance(outcome, Failed | Cancelled):
            self.result.errors.append(_error(outcome.problem))
            self._end_badly(exception)

    def _end_badly(self, exception: BaseException | None) -> None:
        """While the exception is being handled: so Django logs it with its traceback."""
        try:
            raise exception or RuntimeError
        except BaseException:
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
        self._send("task_finished")

    def _send(self, name: str) -> None:
        signal = getattr(compat.part("signals"), name)
        signals.tell(signal, self._sender, task_result=self.result)


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
