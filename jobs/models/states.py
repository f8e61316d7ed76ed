"""The states of a job, and how an attempt may have ended."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from jobs.outcomes import CANCELLED, EXPIRED, LOST, REFUSED, TIMEOUT


class State(models.TextChoices):
    """waiting → queued → running → succeeded | failed | cancelled; a retry is queued again."""

    # For other jobs, or for a slot of a limit.
    WAITING = "waiting", _("waiting")
    # Claimable as soon as its run_at has come.
    QUEUED = "queued", _("queued")
    # Claimed by a runner; it may still stand in line there.
    RUNNING = "running", _("running")
    SUCCEEDED = "succeeded", _("succeeded")
    # Attempts or losses are used up, or the task does not want another.
    FAILED = "failed", _("failed")
    # Ended on purpose without a result: by somebody, by the task, or expired.
    CANCELLED = "cancelled", _("cancelled")

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = (State.SUCCEEDED, State.FAILED, State.CANCELLED)


# Why a job ended without a result, or an attempt went wrong: codes, in words only where shown.
REASONS = {
    TIMEOUT: _("its time limit"),
    EXPIRED: _("not started in time"),
    LOST: _("its process died"),
    CANCELLED: _("cancelled"),
    REFUSED: _("its end could not be recorded"),
}


class AttemptOutcome(models.TextChoices):
    """How an attempt ended that did not simply succeed."""

    FAILED = "failed", _("failed")
    RETRIED = "retried", _("failed, to be retried")
    SNOOZED = "snoozed", _("snoozed")
    CANCELLED = "cancelled", _("cancelled")
    # Its process died.
    LOST = "lost", _("lost")
