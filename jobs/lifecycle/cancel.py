"""Cancel: waiting or queued → cancelled at once; a running job's runner is told."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from jobs.models import Job, State
from jobs.outcomes import CANCELLED


def cancel(job: Job[Any], *, by: str = "", because: str = "") -> bool:
    """Cancel the job, or ask its runner to; False when it had already ended.

    The row is locked first, so a claim comes either before (the job runs, and its runner is
    told) or not at all. `job` is read anew.
    """
    row = Job.objects.using(job._state.db).filter(pk=job.pk)
    with transaction.atomic(using=job._state.db):
        state = row.select_for_update(no_key=True).values_list("state", flat=True).get()
        who_and_why = {"cancelled_by": by or None, "cancelled_because": because or None}
        if state in (State.WAITING, State.QUEUED):
            row.update(
                state=State.CANCELLED,
                claimable=False,
                finished_at=Now(),
                cancelled_at=Now(),
                reason=CANCELLED,
                **who_and_why,
            )
        elif state == State.RUNNING:
            row.update(cancel_requested_at=Now(), **who_and_why)
    job.refresh_from_db()
    return state in (State.WAITING, State.QUEUED, State.RUNNING)
