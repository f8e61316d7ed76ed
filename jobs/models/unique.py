"""The unique key: held by a live job, or for a window that may outlive it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Unique(models.Model):
    """A table of its own: a unique index on the jobs would rule out partitions, and a window
    outlives its pruned job. Nothing holds keys yet; the gate for it is to come."""

    key = models.CharField(_("key"), max_length=255, primary_key=True)
    job_id = models.UUIDField(_("job"))
    # NULL: for as long as the job lives.
    until = models.DateTimeField(_("until"), null=True)

    class Meta:
        db_table = "jobs_unique"
        verbose_name = _("unique key")
        verbose_name_plural = _("unique keys")
        default_permissions = ()

    def __str__(self) -> str:
        return self.key
