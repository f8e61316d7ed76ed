"""The dead worker: what is remembered of a worker that stopped without a word."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class DeadWorker(models.Model):
    """A worker whose heartbeat stood still for `HEARTBEAT_TIMEOUT`, and what became of its jobs.

    Written when another worker declares it dead; deleted after a day.
    """

    # That of the worker's row, which is gone.
    id = models.UUIDField(primary_key=True)
    name = models.CharField(_("name"), max_length=128)
    host = models.CharField(_("host"), max_length=255)
    pid = models.IntegerField(_("process"))
    started_at = models.DateTimeField(_("started at"))
    heartbeat_at = models.DateTimeField(_("last heartbeat"))
    declared_dead_at = models.DateTimeField(_("declared dead at"), db_default=Now())
    # How many of its jobs were given back, or have failed by its death.
    rescued = models.IntegerField(_("jobs rescued"), db_default=0)

    class Meta:
        db_table = "jobs_dead_worker"
        verbose_name = _("dead worker")
        verbose_name_plural = _("dead workers")
        default_permissions = ("view",)
        ordering = ("-declared_dead_at",)

    def __str__(self) -> str:
        return self.name
