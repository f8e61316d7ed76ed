"""What an attempt has logged."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .job import Job


class AttemptLog(models.Model):
    """The first and last lines of one attempt; written while it runs, too."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(
        Job,
        on_delete=models.CASCADE,
        related_name="logs",
        # The unique constraint below already leads with the job.
        db_index=False,
        verbose_name=_("job"),
    )
    attempt = models.IntegerField(_("attempt"))
    # How many there were, those that are left out among them.
    lines = models.IntegerField(_("lines"))
    text = models.TextField(_("log"))
    written_at = models.DateTimeField(_("written at"), db_default=Now())

    class Meta:
        db_table = "jobs_log"
        verbose_name = _("log")
        verbose_name_plural = _("logs")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["job", "attempt"], name="jobs_log_once"),
        ]

    def __str__(self) -> str:
        return f"log of attempt {self.attempt}"
