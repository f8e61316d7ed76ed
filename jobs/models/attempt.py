"""The attempt: one claim of a job that did not simply succeed."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from .functions import within_years
from .job import Job
from .states import AttemptOutcome

# How an attempt ends that went wrong.
FAILURES = (
    AttemptOutcome.FAILED.value, AttemptOutcome.LOST.value, AttemptOutcome.RETRIED.value,
)  # fmt: skip


class Attempt(models.Model):
    """How one attempt went wrong, or why it was put off. Reads like Django's TaskError."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(
        Job,
        on_delete=models.CASCADE,
        related_name="history",
        # The unique constraint below already leads with the job.
        db_index=False,
        verbose_name=_("job"),
    )
    attempt = models.IntegerField(_("attempt"))
    outcome = models.CharField(_("outcome"), max_length=9, choices=AttemptOutcome.choices)
    reason = models.CharField(_("reason"), max_length=32, db_default="")
    worker = models.CharField(_("worker"), max_length=128, null=True)
    started_at = models.DateTimeField(_("started at"), null=True)
    finished_at = models.DateTimeField(_("finished at"))
    exception_class_path = models.TextField(_("exception"), db_default="")
    message = models.TextField(_("message"), db_default="")
    traceback = models.TextField(_("traceback"), db_default="")
    # What failures of one kind have in common (see jobs.frames); empty where nothing went wrong.
    fingerprint = models.CharField(_("kind"), max_length=16, db_default="")

    class Meta:
        db_table = "jobs_attempt"
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        default_permissions = ()
        ordering = ("job_id", "attempt")
        indexes = [
            models.Index(
                "fingerprint",
                "id",
                name="jobs_attempt_kind",
                condition=Q(outcome__in=FAILURES),
            ),
            models.Index(
                "exception_class_path",
                "id",
                name="jobs_attempt_exception",
                condition=Q(outcome__in=FAILURES),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["job", "attempt"], name="jobs_attempt_once"),
            models.CheckConstraint(
                name="jobs_attempt_moments", condition=within_years("started_at", "finished_at")
            ),
            models.CheckConstraint(
                name="jobs_attempt_outcome",
                condition=Q(outcome__in=[outcome.value for outcome in AttemptOutcome]),
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.attempt}: {self.get_outcome_display()}"

    @property
    def exception_class(self) -> type[BaseException]:
        """The exception's class; a ValueError when it cannot be had in this process."""
        try:
            found = import_string(self.exception_class_path)
        except ImportError as error:
            raise ValueError(f"{self.exception_class_path!r} cannot be imported") from error
        if not (isinstance(found, type) and issubclass(found, BaseException)):
            raise ValueError(f"{self.exception_class_path!r} is no exception class")
        return found
