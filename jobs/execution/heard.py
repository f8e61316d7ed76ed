"""Who listens to an attempt: receivers of our signals, and those of Django's own task API."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from django.dispatch import Signal

from jobs import signals
from jobs.errors import JobCancelled, JobTimeout
from jobs.outcomes import Cancelled, Committed, Failed, Outcome, Retried, Succeeded
from jobs.tasks import sender_of

from .told import Told

if TYPE_CHECKING:
    from jobs.lifecycle import Claimed
    from jobs.tasks import Task

    from .context import Context

logger = logging.getLogger("jobs")

_ENDS = {
    Succeeded: "succeeded",
    Committed: "succeeded",
    Failed: "failed",
    Cancelled: "cancelled",
}


class Heard:
    """One attempt that somebody listens to. Making it tells of the start, `end` of the rest,
    both outside of the task's own transaction."""

    def __init__(self, task: Task[..., Any], job: Claimed, context: Context) -> None:
        self._task = task
        self._context = context
        self._pid = os.getpid()
        self._job = job
        # What the function raised.
        self.exception: BaseException | None = None
        self._send(signals.job_started)
        self._told = Told(task, job, context.worker) if task.django is not None else None

    @property
    def context(self) -> Any:
        """What a task that takes the context gets: of the API that it was written for."""
        return self._context if self._told is None else self._told.context

    def returned(self, value: Any) -> Any:
        """The value as the task's API knows it; TypeError for what that does not let return."""
        return value if self._told is None else self._told.returned(value)

    def end(self, outcome: Outcome) -> None:
        """Tell how it ended; a child of the process tells nothing."""
        if os.getpid() != self._pid:
            return
        try:
            if self._told is not None:
                self._told.end(outcome, self.exception)
            if isinstance(outcome, Retried):
                self._send(signals.job_retried, exception=self.exception, delay=outcome.delay)
            elif state := _ENDS.get(type(outcome)):
                self._send(signals.job_finished, state=state, exception=self.exception)
        except (JobTimeout, JobCancelled):
            # It arrived behind the function's end, which stands.
            logger.info("job %s was interrupted when it had ended", self._job.id)

    def _send(self, signal: Signal, **named: Any) -> None:
        if signal.receivers:
            signals.tell(signal, sender_of(self._task), context=self._context, **named)
