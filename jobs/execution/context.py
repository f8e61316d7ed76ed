"""What a running task may know of its job, and tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from jobs import codec, conf
from jobs.errors import JobCancelled, OutsideJob

from .text import clean

if TYPE_CHECKING:
    from jobs.lifecycle import Claimed
    from jobs.models import Attempt, Job

    from .logs import Log

Teller = Callable[["Claimed", float, float | None, str], None]
Keeper = Callable[["Claimed", int], "Log"]

_current: ContextVar[Context | None] = ContextVar("jobs_current_context", default=None)


def current_context() -> Context:
    """The context of the job that this code runs in; OutsideJob when there is none."""
    context = _current.get()
    if context is None:
        raise OutsideJob(
            "there is no current job here: current_context() is for code that a worker runs"
        )
    return context


def current_or_none() -> Context | None:
    """The context of the job that this code runs in, if there is one."""
    return _current.get()


def in_job() -> bool:
    """Whether this code runs in a job."""
    return _current.get() is not None


class Context:
    """One attempt of one job."""

    __slots__ = (
        "_claimed", "_holds_progress", "_is_stopping", "_keeper", "_log", "_tell", "entered",
        "interruption", "is_inline", "sent", "worker",
    )  # fmt: skip

    def __init__(
        self,
        claimed: Claimed,
        tell: Teller | None = None,
        worker: str = "",
        keeper: Keeper | None = None,
        *,
        is_inline: bool = False,
        is_stopping: Callable[[], bool] | None = None,
    ) -> None:
        self._is_stopping = is_stopping
        self._holds_progress = False
        self._claimed = claimed
        self._tell = tell
        # Makes its log when there is a first line.
        self._keeper = keeper
        self._log: Log | None = None
        # Who runs it, as its row says.
        self.worker = worker
        # Whether a test runs it where it stands: Ctrl-C is then the tester's, not the task's.
        self.is_inline = is_inline
        # The exception that the worker raises in the task: cancelled, or too long.
        self.interruption: BaseException | None = None
        # Whether the function's thread or coroutine has begun, and whether the interruption
        # is on its way to it.
        self.entered = False
        self.sent = False

    def enter(self) -> None:
        """Make this the current context, in the caller's own `contextvars` context."""
        self.entered = True
        _current.set(self)

    @property
    def job_id(self) -> UUID:
        return UUID(self._claimed.id)

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1: every start counts, also after a `Snooze`."""
        return int(self._claimed.attempt)

    @property
    def failures(self) -> int:
        """How many attempts have failed so far."""
        return int(self._claimed.failures)

    @property
    def metadata(self) -> dict[str, Any]:
        """What was said by `using(metadata=…)`."""
        from jobs.models.references import load

        kept = self._claimed.metadata
        return {} if kept is None else codec.decode(json.loads(kept), load)

    @property
    def last_error(self) -> Attempt | None:
        """The last attempt that went wrong (a query)."""
        return self.job.last_problem

    @property
    def last_attempted_at(self) -> datetime:
        """When this attempt started, on the database's clock."""
        return datetime.fromtimestamp(self._claimed.started_at, UTC)

    @property
    def tick(self) -> datetime | None:
        """The tick of the schedule that enqueued this job; None: there was none (a query)."""
        tick: datetime | None = self.job.tick
        return tick

    @property
    def job(self) -> Job[Any]:
        """The row as it is now (a query)."""
        from jobs.models import Job

        return Job.objects.using(conf.settings().database).get(pk=self._claimed.id)

    def set_progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Tell how far the task has come; cheap: written at most twice a second.

        It goes over the runner's own connection, so it is seen before a transaction of the
        task commits. In an atomic task under REPEATABLE READ or SERIALIZABLE nothing is written:
        another connection's change of the job's row would end the task's transaction.
        """
        if self._tell is not None and not self._holds_progress:
            whole = None if total is None else float(total)
            self._tell(self._claimed, float(done), whole, clean(str(message)))

    def hold_progress(self) -> None:
        """From now on, write no progress."""
        self._holds_progress = True

    def keep(self, line: str, most: int) -> None:
        """Keep what the task has logged, so many bytes at most."""
        if self._log is None:
            if self._keeper is None:
                return
            self._log = self._keeper(self._claimed, most)
        self._log.add(line)

    def is_stopping(self) -> bool:
        """Return whether this runner is stopping: after the grace period its jobs are given back.

        For long tasks, which may finish a part and raise `Snooze` or `Retry`.
        """
        return self._is_stopping is not None and self._is_stopping()

    def is_cancelled(self) -> bool:
        """Whether somebody has asked for this job's cancellation."""
        return isinstance(self.interruption, JobCancelled)
