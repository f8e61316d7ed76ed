"""Retry: failed or cancelled → queued, by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from jobs.errors import InvalidTransition
from jobs.models import Job, State


def retry(job: Job[Any], *, delay: timedelta = timedelta(0)) -> None:
    """Queue a job that failed or was cancelled, with its failures and losses forgotten.

    Its attempts stay as they are, and `attempt` goes on rising. `job` is read anew.
    """
    changed = (
        Job.objects.using(job._state.db)
        .filter(pk=job.pk, state__in=(State.FAILED, State.CANCELLED))
        .update(
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
    )
    job.refresh_from_db()
    if not changed:
        raise InvalidTransition(
            f"{job} is {job.get_state_display()}; only a failed or cancelled job can be retried"
        )
