"""The statistic: counts and run times of a minute, for each queue, task and runner."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Statistic(models.Model):
    """Rows are each runner's own, so that no two wait for one; what charts will read, instead
    of the jobs. Nothing writes it yet; the charts are to come."""

    id = models.BigAutoField(primary_key=True)
    minute = models.DateTimeField(_("minute"))
    queue_name = models.CharField(_("queue"), max_length=128)
    task = models.CharField(_("task"), max_length=255)
    # NULL: folded from those of all runners.
    runner = models.UUIDField(_("runner"), null=True)
    succeeded = models.IntegerField(_("succeeded"), db_default=0)
    failed = models.IntegerField(_("failed"), db_default=0)
    retried = models.IntegerField(_("retried"), db_default=0)
    cancelled = models.IntegerField(_("cancelled"), db_default=0)
    snoozed = models.IntegerField(_("snoozed"), db_default=0)
    lost = models.IntegerField(_("lost"), db_default=0)
    ran_for = models.DurationField(_("ran for"), db_default=timedelta(0))

    class Meta:
        db_table = "jobs_statistic"
        verbose_name = _("statistic")
        verbose_name_plural = _("statistics")
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["minute", "queue_name", "task", "runner"],
                name="jobs_statistic_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="jobs_statistic_counts",
                condition=Q(
                    succeeded__gte=0,
                    failed__gte=0,
                    retried__gte=0,
                    cancelled__gte=0,
                    snoozed__gte=0,
                    lost__gte=0,
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M} {self.queue_name} {self.task}"
