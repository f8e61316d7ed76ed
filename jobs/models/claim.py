"""The claim: a batch of jobs that one runner took in one statement.

Its id is the fence: whatever ends an attempt names it, and a runner that lost its jobs
matches no row. The claiming statement inserts the row, its last record deletes it.
"""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .fields import UUIDListField


class Claim(models.Model):
    id = models.UUIDField(primary_key=True)
    # No foreign key: every claim would lock the worker's row, which heartbeats update.
    worker_id = models.UUIDField(_("worker"))
    # This life of the runner process; never its pid, which the system uses again.
    runner = models.UUIDField(_("runner"))
    claimed_at = models.DateTimeField(_("claimed at"), db_default=Now())
    ids = UUIDListField(_("jobs"))

    class Meta:
        db_table = "jobs_claim"
        verbose_name = _("claim")
        verbose_name_plural = _("claims")
        default_permissions = ()

    def __str__(self) -> str:
        return f"claim {self.pk}"
