"""The statistic: what became of the jobs of a queue and a task in a minute, or in an hour.

What charts read, instead of the jobs. Workers write it every few seconds, each runner rows of its
own, so that no two wait for one another; later the rows of a minute are folded into one, and
minutes into ten minutes, and these into hours.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .fields import IntegerListField

MINUTE, TEN_MINUTES, HOUR = 60, 600, 3600
# How attempts end that are counted, each in a column.
COUNTED = ("succeeded", "failed", "retried", "cancelled", "snoozed", "lost")


class Statistic(models.Model):
    id = models.BigAutoField(primary_key=True)
    starts_at = models.DateTimeField(_("starts at"))
    # MINUTE, TEN_MINUTES or HOUR.
    seconds = models.IntegerField(_("seconds"), db_default=MINUTE)
    queue_name = models.CharField(_("queue"), max_length=128)
    # Empty: of the queue as a whole (a sample); both empty: of all queues and tasks.
    task = models.CharField(_("task"), max_length=255)
    # NULL: folded from those of all runners.
    runner = models.UUIDField(_("runner"), null=True)
    succeeded = models.IntegerField(_("succeeded"), db_default=0)
    failed = models.IntegerField(_("failed"), db_default=0)
    retried = models.IntegerField(_("retried"), db_default=0)
    cancelled = models.IntegerField(_("cancelled"), db_default=0)
    snoozed = models.IntegerField(_("snoozed"), db_default=0)
    lost = models.IntegerField(_("lost"), db_default=0)
    # Histograms (see jobs.histogram) of how long attempts waited for their start, and ran.
    waits = IntegerListField(_("waits"), db_default=models.Value("{}"))
    runs = IntegerListField(_("run times"), db_default=models.Value("{}"))
    # A sample of the queue: how many jobs were ready, and for how long the first had been.
    ready = models.IntegerField(_("ready"), null=True)
    oldest = models.FloatField(_("oldest"), null=True)

    class Meta:
        db_table = "jobs_statistic"
        verbose_name = _("statistic")
        verbose_name_plural = _("statistics")
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["seconds", "starts_at", "queue_name", "task", "runner"],
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
        return f"{self.starts_at:%Y-%m-%d %H:%M} {self.queue_name} {self.task}"
