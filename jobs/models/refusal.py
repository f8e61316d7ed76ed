"""The refusal: something of ours that PostgreSQL, or a trigger of the site, does not accept."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class Refusal(models.Model):
    """One thing that is set aside while everything else goes on.

    What is tried again is deleted once it is accepted; the others a day after they were met last.

    Written by workers and beats with `lifecycle.note_refusal`, in a transaction of its own.
    """

    class Subject(models.TextChoices):
        # A job has ended, and its end cannot be recorded; it is tried again.
        END = "end", _("the end of a job")
        # A job is due and cannot be claimed; it is tried again.
        CLAIM = "claim", _("the start of a job")
        # A job of a dead process cannot be given back; it is tried again.
        RESCUE = "rescue", _("the rescue of a job")
        # Its end is recorded, without what is kept of the attempt.
        ATTEMPT = "attempt", _("attempt")
        # Its end is recorded, without what follows it.
        FOLLOWER = "follower", _("what follows a job")
        LOG = "log", _("the log of a job")
        PROGRESS = "progress", _("the progress of a job")
        # A job that has ended long ago cannot be deleted.
        PRUNING = "pruning", _("the deletion of a job")
        SCHEDULE = "schedule", _("a schedule")
        STATISTIC = "statistic", _("statistics")

    id = models.BigAutoField(primary_key=True)
    subject = models.CharField(_("what is refused"), max_length=9, choices=Subject.choices)
    # The id of a job or a schedule, or the name of a task.
    key = models.CharField(_("of"), max_length=255)
    # PostgreSQL's message and SQLSTATE, without rows or arguments.
    message = models.TextField(_("message"))
    reported_by = models.CharField(_("reported by"), max_length=128)
    first_at = models.DateTimeField(_("first refused at"), db_default=Now())
    last_at = models.DateTimeField(_("last refused at"), db_default=Now())
    times = models.IntegerField(_("times"), db_default=1)

    class Meta:
        db_table = "jobs_refusal"
        verbose_name = _("refusal")
        verbose_name_plural = _("refusals")
        default_permissions = ("view",)
        ordering = ("-last_at",)
        constraints = [
            models.UniqueConstraint(fields=["subject", "key"], name="jobs_refusal_once"),
        ]

    def __str__(self) -> str:
        return f"{self.get_subject_display()} {self.key}"
