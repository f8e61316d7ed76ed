"""The queue: a name that workers choose from. A queue needs no row; a paused one has one.

And the paused task: a task whose jobs no worker starts, whatever their queue.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .functions import within_years


class PauseQuerySet(models.QuerySet["Queue"]):
    def paused(self) -> Self:
        """Those that hold now: not the ones whose time is over."""
        return self.filter(
            Q(paused_until__isnull=True) | Q(paused_until__gt=Now()), paused_at__isnull=False
        )


class Queue(models.Model):
    name = models.CharField(_("name"), max_length=128, primary_key=True)
    paused_at = models.DateTimeField(_("paused at"), null=True)
    paused_by = models.CharField(_("paused by"), max_length=255, db_default="")
    paused_because = models.TextField(_("reason"), db_default="")
    # NULL: until somebody resumes it.
    paused_until = models.DateTimeField(_("paused until"), null=True)

    objects = PauseQuerySet.as_manager()

    class Meta:
        db_table = "jobs_queue"
        verbose_name = _("queue")
        verbose_name_plural = _("queues")
        default_permissions = ("view",)
        permissions = [("pause_queue", _("Can pause and resume queues"))]
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(
                name="jobs_queue_moments", condition=within_years("paused_at", "paused_until")
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_paused(self) -> bool:
        """Now, by this machine's clock."""
        if self.paused_at is None:
            return False
        return self.paused_until is None or self.paused_until > datetime.now(UTC)


class PausedTask(models.Model):
    """There are few, and usually none: each claim reads them all."""

    name = models.CharField(_("task"), max_length=255, primary_key=True)
    paused_at = models.DateTimeField(_("paused at"), db_default=Now())
    paused_by = models.CharField(_("paused by"), max_length=255, db_default="")
    paused_because = models.TextField(_("reason"), db_default="")
    # NULL: until somebody resumes it. Once it is over, the supervisors put back what they had put
    # off, and delete the row.
    paused_until = models.DateTimeField(_("paused until"), null=True)
    # To when its due jobs are put off meanwhile, so that claims need not walk over them: by this
    # moment they are known.
    parked_until = models.DateTimeField(_("put off until"))
    # When a supervisor has first seen that it is over.
    over_seen_at = models.DateTimeField(_("seen to be over at"), null=True)

    class Meta:
        db_table = "jobs_paused_task"
        verbose_name = _("paused task")
        verbose_name_plural = _("paused tasks")
        default_permissions = ("view",)
        permissions = [("pause_task", _("Can pause and resume tasks"))]
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(
                name="jobs_paused_task_moments",
                condition=within_years("paused_at", "paused_until", "parked_until", "over_seen_at"),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_over(self) -> bool:
        """Now, by this machine's clock."""
        return self.paused_until is not None and self.paused_until <= datetime.now(UTC)
