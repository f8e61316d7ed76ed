"""The silence: a kind of failures about which nobody wants to hear."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .functions import within_years


class SilenceQuerySet(models.QuerySet["Silence"]):
    def holding(self) -> Self:
        """Not those whose time is over."""
        return self.filter(Q(until__isnull=True) | Q(until__gt=Now()))


class Silence(models.Model):
    """There are few. Jobs fail as before, and are counted; no alarm tells of them."""

    id = models.BigAutoField(primary_key=True)
    task = models.CharField(_("task"), max_length=255)
    fingerprint = models.CharField(_("kind"), max_length=16)
    since = models.DateTimeField(_("silenced at"), db_default=Now())
    by = models.CharField(_("silenced by"), max_length=255, db_default="")
    because = models.TextField(_("reason"), db_default="")
    # NULL: until somebody ends it.
    until = models.DateTimeField(_("silenced until"), null=True)

    objects = SilenceQuerySet.as_manager()

    class Meta:
        db_table = "jobs_silence"
        verbose_name = _("silence")
        verbose_name_plural = _("silences")
        default_permissions = ()
        permissions = [("silence_kind", _("Can silence failures of one kind"))]
        constraints = [
            models.UniqueConstraint(fields=["task", "fingerprint"], name="jobs_silence_once"),
            models.CheckConstraint(
                name="jobs_silence_moments", condition=within_years("since", "until")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task} {self.fingerprint}"

    @property
    def key(self) -> tuple[str, str]:
        return self.task, self.fingerprint
