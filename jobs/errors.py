"""What the library raises, and what a task may raise to steer its own job.

`JobsError` is the base of the former; `Retry`, `Snooze` and `Cancel` are the latter.
"""

from __future__ import annotations

from datetime import timedelta

from .bounds import check_delay


class JobsError(Exception):
    """Base of everything that jobs itself raises."""


class NotStorable(JobsError, ValueError):
    """A value cannot be kept as JSON; the message names the argument and the cure."""


class InvalidTask(JobsError, ValueError):
    """A function or an option that cannot make a task."""


class InvalidCall(JobsError, TypeError):
    """The arguments of a call do not fit the task's signature."""


class TaskNotFound(JobsError, LookupError):
    """No function of that name can be had in this process."""


class TaskNotAllowed(JobsError, PermissionError):
    """The function lies outside what this site lets jobs run."""


class InvalidSchedule(JobsError, ValueError):
    """A rule, zone or moment that names no tick."""


class InvalidTransition(JobsError):
    """The job's state does not allow this verb; the message names both."""


class WaitRefused(JobsError, RuntimeError):
    """Waiting here could never end: inside a task, or inside an open transaction."""


class OutsideJob(JobsError, RuntimeError):
    """There is no current job: the code is not being run by a worker."""


class JobFailed(JobsError):
    """The job that was waited for has failed.

    `exception_class` is its dotted path, `message` and `traceback` are texts of the
    worker's exception.
    """

    def __init__(self, exception_class: str, message: str, traceback: str) -> None:
        self.exception_class = exception_class
        self.message = message
        self.traceback = traceback
        super().__init__(f"{exception_class}: {message}")


class JobCancelled(JobsError):
    """The job was cancelled: raised in the running task, and by `wait`."""


class JobExpired(JobCancelled):
    """The job was not started before its `expires_at`."""


class JobLost(JobsError):
    """The process that ran the job died."""


class JobTimeout(JobsError, TimeoutError):
    """The task ran longer than its `timeout`; raised in the running task."""


class Retry(Exception):
    """Raised by a task: run me again; counts as a failure, against `max_attempts`.

    Without a delay the task's own back-off decides. Raises TypeError or ValueError for a delay that
    is no timedelta, or longer than 1,000 years.
    """

    # Of a subclass that does not call this constructor, too.
    delay: timedelta | None = None

    def __init__(self, delay: timedelta | None = None, reason: str = "") -> None:
        if delay is not None:
            check_delay(delay, "Retry's delay")
        self.delay = delay
        super().__init__(reason or "the task asked to be retried")


class Snooze(Exception):
    """Raised by a task: not yet, ask me again after `delay`; counts as nothing.

    Raises TypeError or ValueError for a delay that is no timedelta, or longer than 1,000 years.
    """

    # A subclass may not call this constructor; its attempt then fails with an error about that.
    delay: timedelta | None = None

    def __init__(self, delay: timedelta) -> None:
        self.delay = check_delay(delay, "Snooze's delay")
        super().__init__(f"snoozed for {delay}")


class Cancel(Exception):
    """Raised by a task: stop here and do not run me again."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the task cancelled itself")
