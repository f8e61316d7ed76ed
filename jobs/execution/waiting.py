"""Wait for a job's end, from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections

from jobs import conf
from jobs.errors import JobCancelled, JobExpired, JobFailed, WaitRefused
from jobs.models import Job, State
from jobs.outcomes import EXPIRED

from .context import in_job

# Short at first, since most jobs that are waited for are short; then a fifth of a second,
# which costs the database next to nothing.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.2


def wait(job: Job[Any], timeout: float | timedelta | None = None) -> Any:
    """Block until the job has ended; see `Job.wait`."""
    _refuse_the_endless(job)
    for pause in _pauses(job, timeout):
        job.refresh_from_db()
        if job.is_finished:
            break
        time.sleep(pause)
    return _result(job)


async def await_result(job: Job[Any], timeout: float | timedelta | None = None) -> Any:
    """`wait`, without blocking the event loop."""
    await sync_to_async(_refuse_the_endless)(job)
    for pause in _pauses(job, timeout):
        await job.arefresh_from_db()
        if job.is_finished:
            break
        await asyncio.sleep(pause)
    return await sync_to_async(_result)(job)


def _refuse_the_endless(job: Job[Any]) -> None:
    if in_job():
        raise WaitRefused(
            f"waiting for {job} inside of a task would hold a slot that the job may need; "
            "enqueue what comes after it from the job itself"
        )
    connection = connections[conf.settings().database]
    if connection.in_atomic_block or not connection.get_autocommit():
        raise WaitRefused(
            f"waiting for {job} inside of an open transaction would never end: no worker can "
            "see the job before the commit; leave atomic() first (ATOMIC_REQUESTS and TestCase "
            "open one, too)"
        )


def _pauses(job: Job[Any], timeout: float | timedelta | None) -> Iterator[float]:
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    deadline = None if seconds is None else time.monotonic() + seconds
    pause, is_last = _FIRST_PAUSE, False
    while True:
        left = pause if deadline is None else deadline - time.monotonic()
        if is_last:
            raise TimeoutError(
                f"{job} is still {job.get_state_display()} after {seconds:g} s; is a worker "
                f"running that serves the queue {job.queue_name!r}?"
            )
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
