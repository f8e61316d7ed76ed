"""What walks over large tables, beside a site and workers that go on."""

from django.contrib.postgres.operations import (
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db import migrations, models
from django.db.models import F, Q

_WRONG = Q(outcome__in=("failed", "lost", "retried"))


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("jobs", "0008_logs_and_silences")]

    operations = [
        # Only SQL can have made one.
        migrations.RunSQL(
            "UPDATE jobs_job SET waiting_since = enqueued_at "
            "WHERE state = 'waiting' AND waiting_since IS NULL",
            migrations.RunSQL.noop,
        ),
        ValidateConstraint(model_name="job", name="jobs_job_waiting"),
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(
                F("queue_name"),
                F("id"),
                condition=Q(waiting_since__isnull=False),
                name="jobs_job_waiting",
            ),
        ),
        RemoveIndexConcurrently(model_name="attempt", name="jobs_attempt_kind"),
        AddIndexConcurrently(
            model_name="attempt",
            index=models.Index(
                F("fingerprint"), F("id"), condition=_WRONG, name="jobs_attempt_kind"
            ),
        ),
        RemoveIndexConcurrently(model_name="attempt", name="jobs_attempt_exception"),
        AddIndexConcurrently(
            model_name="attempt",
            index=models.Index(
                F("exception_class_path"), F("id"), condition=_WRONG, name="jobs_attempt_exception"
            ),
        ),
    ]
