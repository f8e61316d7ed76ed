"""Retry: failed or cancelled → queued, by hand."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS
from django.db.models.functions import Now

from jobs.bounds import check_delay
from jobs.errors import InvalidTransition
from jobs.models import Job, State

from .several import locked
from .wake import wake


def retry(job: Job[Any], *, delay: timedelta = timedelta(0)) -> None:
    """Queue a job that failed or was cancelled, with its failures and losses forgotten.

    Raises InvalidTransition for any other job, TypeError or ValueError for a delay out of bounds.
    Its attempts stay as they are, and `attempt` goes on rising. `job` is read anew.
    """
    done = retry_these([job.pk], delay=delay, using=job._state.db or DEFAULT_DB_ALIAS)
    job.refresh_from_db()
    if not done:
        raise InvalidTransition(
            f"{job} is {job.get_state_display()}; only a failed or cancelled job can be retried"
        )


def retry_these(
    ids: Collection[UUID], *, delay: timedelta = timedelta(0), using: str
) -> list[UUID]:
    """The same for several, in the caller's transaction; those that it was true of."""
    check_delay(delay, "the delay")
    with locked(ids, (State.FAILED, State.CANCELLED), using) as (rows, found):
        rows.update(
            state=State.QUEUED,
            claimable=True,
            run_at=Now() + delay,
            failures=0,
            losses=0,
            finished_at=None,
            failed_at=None,
            cancelled_at=None,
            reason=None,
            # Else an expired job would expire again at once.
            expires_at=None,
            cancel_requested_at=None,
            cancelled_by=None,
            cancelled_because=None,
            progress_done=None,
            progress_total=None,
            progress_message=None,
        )
        wake(found, using=using)
        return found
