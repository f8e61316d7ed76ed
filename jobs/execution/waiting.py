"""Wait for a job's end, from outside."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connections
from django.utils import timezone

from jobs import conf, lifecycle
from jobs.errors import JobCancelled, JobExpired, JobFailed, WaitRefused
from jobs.models import Job, State
from jobs.outcomes import EXPIRED

from .context import in_job

# Short at first, since most jobs that are waited for are short; then a fifth of a second,
# which costs the database next to nothing.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.2

logger = logging.getLogger("jobs")


def wait(job: Job[Any], timeout: float | timedelta | None = None) -> Any:
    """Block until the job has ended; see `Job.wait`."""
    _refuse_the_endless(job)
    looks = _Looks(job)
    for pause in _pauses(job, timeout):
        if looks.sees_the_end():
            break
        time.sleep(pause + looks.extra)
    return _result(job)


async def await_result(job: Job[Any], timeout: float | timedelta | None = None) -> Any:
    """`wait`, without blocking the event loop."""
    await sync_to_async(_refuse_the_endless)(job)
    looks = _Looks(job)
    for pause in _pauses(job, timeout):
        if await sync_to_async(looks.sees_the_end)():
            break
        await asyncio.sleep(pause + looks.extra)
    return await sync_to_async(_result)(job)


class _Looks:
    """Looks at the row, again and again. A database that is away is waited for as the job is,
    and asked ever more patiently."""

    def __init__(self, job: Job[Any]) -> None:
        self._job = job
        self._failures = 0

    def sees_the_end(self) -> bool:
        try:
            self._job.refresh_from_db()
        except (OperationalError, InterfaceError) as error:
            if self._failures == 0:
                logger.warning("waiting for %s: %s", self._job, str(error).strip())
            self._failures += 1
            connections[_alias(self._job)].close()
            return False
        self._failures = 0
        return self._job.is_finished

    @property
    def extra(self) -> float:
        """Seconds to wait beyond the usual pause."""
        return lifecycle.pause_after(self._failures) if self._failures else 0.0


def _refuse_the_endless(job: Job[Any]) -> None:
    if in_job():
        raise WaitRefused(
            f"waiting for {job} inside of a task would hold a slot that the job may need; "
            "enqueue what comes after it from the job itself"
        )
    connection = connections[_alias(job)]
    if connection.in_atomic_block or not connection.get_autocommit():
        raise WaitRefused(
            f"waiting for {job} inside of an open transaction would never end: no worker can "
            "see the job before the commit; leave atomic() first (ATOMIC_REQUESTS and TestCase "
            "open one, too)"
        )


def _why(job: Job[Any]) -> str:
    if job.state == State.RUNNING:
        return f"it runs since {job.last_attempted_at}, on {job.worker}"
    if job.state == State.QUEUED and job.run_at > timezone.now():
        again = f" again, after {job.failures} failures," if job.failures else ""
        return f"it is to run{again} at {job.run_at}"
    return f"is a worker running that serves the queue {job.queue_name!r}?"


def _alias(job: Job[Any]) -> str:
    return job._state.db or conf.settings().database


def _pauses(job: Job[Any], timeout: float | timedelta | None) -> Iterator[float]:
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    deadline = None if seconds is None else time.monotonic() + seconds
    pause, is_last = _FIRST_PAUSE, False
    while True:
        left = pause if deadline is None else deadline - time.monotonic()
        if is_last:
            raise TimeoutError(f"{job} is still {job.state} after {seconds:g} s; {_why(job)}")
        is_last = left <= 0
        yield max(0.0, min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)


def _result(job: Job[Any]) -> Any:
    if job.state == State.SUCCEEDED:
        return job.return_value
    if job.state == State.CANCELLED:
        by = f" by {job.cancelled_by}" if job.cancelled_by else ""
        why = f": {job.cancelled_because}" if job.cancelled_because else ""
        kind = JobExpired if job.reason == EXPIRED else JobCancelled
        raise kind(
            f"{job} was {'not started in time' if kind is JobExpired else 'cancelled'}{by}{why}"
        )
    last = job.last_problem
    if last is None:
        raise JobFailed("jobs.errors.JobLost", f"{job} failed ({job.reason})", "")
    raise JobFailed(last.exception_class_path, last.message, last.traceback)
