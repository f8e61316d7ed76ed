"""Refusals, dead workers, and bounds for what SQL may write. New CHECKs are validated in 0011."""

import datetime

import django.db.models.expressions
import django.db.models.functions.comparison
import django.db.models.functions.datetime
import django.db.models.lookups
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


def _both_or_neither(one, other):
    wrapped = (models.ExpressionWrapper(each, models.BooleanField()) for each in (one, other))
    return models.Q(django.db.models.lookups.Exact(*wrapped))


# The same as before, in half as many words: PostgreSQL reads each CHECK for each statement.
_SHORTER = {
    "jobs_job_claimable": (models.Q(claimable=True), models.Q(state="queued")),
    "jobs_job_waiting": (models.Q(waiting_since__isnull=False), models.Q(state="waiting")),
    "jobs_job_final_is_finished": (
        models.Q(finished_at__isnull=False),
        models.Q(state__in=("succeeded", "failed", "cancelled")),
    ),
    "jobs_job_failed": (models.Q(failed_at__isnull=False), models.Q(state="failed")),
    "jobs_job_cancelled": (models.Q(cancelled_at__isnull=False), models.Q(state="cancelled")),
}


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0009_indexes"),
    ]

    operations = [
        migrations.CreateModel(
            name="DeadWorker",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=128, verbose_name="name")),
                ("host", models.CharField(max_length=255, verbose_name="host")),
                ("pid", models.IntegerField(verbose_name="process")),
                ("started_at", models.DateTimeField(verbose_name="started at")),
                ("heartbeat_at", models.DateTimeField(verbose_name="last heartbeat")),
                (
                    "declared_dead_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="declared dead at",
                    ),
                ),
                ("rescued", models.IntegerField(db_default=0, verbose_name="jobs rescued")),
            ],
            options={
                "verbose_name": "dead worker",
                "verbose_name_plural": "dead workers",
                "db_table": "jobs_dead_worker",
                "ordering": ("-declared_dead_at",),
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Refusal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "subject",
                    models.CharField(
                        choices=[
                            ("end", "the end of a job"),
                            ("claim", "the start of a job"),
                            ("rescue", "the rescue of a job"),
                            ("attempt", "attempt"),
                            ("follower", "what follows a job"),
                            ("log", "the log of a job"),
                            ("progress", "the progress of a job"),
                            ("pruning", "the deletion of a job"),
                            ("schedule", "a schedule"),
                            ("statistic", "statistics"),
                        ],
                        max_length=9,
                        verbose_name="what is refused",
                    ),
                ),
                ("key", models.CharField(max_length=255, verbose_name="of")),
                ("message", models.TextField(verbose_name="message")),
                ("reported_by", models.CharField(max_length=128, verbose_name="reported by")),
                (
                    "first_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="first refused at",
                    ),
                ),
                (
                    "last_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="last refused at",
                    ),
                ),
                ("times", models.IntegerField(db_default=1, verbose_name="times")),
            ],
            options={
                "verbose_name": "refusal",
                "verbose_name_plural": "refusals",
                "db_table": "jobs_refusal",
                "ordering": ("-last_at",),
                "default_permissions": ("view",),
            },
        ),
        *(migrations.RemoveConstraint(model_name="job", name=name) for name in _SHORTER),
        *(
            AddConstraintNotValid(
                model_name="job",
                constraint=models.CheckConstraint(condition=_both_or_neither(*both), name=name),
            )
            for name, both in _SHORTER.items()
        ),
        migrations.RemoveConstraint(
            model_name="job",
            name="jobs_job_failures",
        ),
        migrations.RemoveConstraint(
            model_name="job",
            name="jobs_job_losses",
        ),
        migrations.RemoveConstraint(
            model_name="job",
            name="jobs_job_moments",
        ),
        migrations.RemoveConstraint(
            model_name="pausedtask",
            name="jobs_paused_task_moments",
        ),
        migrations.RemoveConstraint(
            model_name="queue",
            name="jobs_queue_moments",
        ),
        migrations.RemoveConstraint(
            model_name="silence",
            name="jobs_silence_moments",
        ),
        AddConstraintNotValid(
            model_name="attempt",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    django.db.models.lookups.GreaterThanOrEqual(
                        django.db.models.functions.comparison.Least("started_at", "finished_at"),
                        models.Value(
                            datetime.datetime(2, 1, 1, 0, 0, tzinfo=datetime.UTC),
                            output_field=models.DateTimeField(),
                        ),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.comparison.Greatest("started_at", "finished_at"),
                        models.Value(
                            datetime.datetime(9999, 1, 1, 0, 0, tzinfo=datetime.UTC),
                            output_field=models.DateTimeField(),
                        ),
                    ),
                ),
                name="jobs_attempt_moments",
            ),
        ),
        AddConstraintNotValid(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    django.db.models.lookups.GreaterThanOrEqual(
                        django.db.models.functions.comparison.Least(
                            "enqueued_at",
                            "run_at",
                            "expires_at",
                            "waiting_since",
                            "last_attempted_at",
                            "finished_at",
                            "failed_at",
                            "cancelled_at",
                            "cancel_requested_at",
                            "tick",
                        ),
                        models.Value(
                            datetime.datetime(2, 1, 1, 0, 0, tzinfo=datetime.UTC),
                            output_field=models.DateTimeField(),
                        ),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.comparison.Greatest(
                            "enqueued_at",
                            "run_at",
                            "expires_at",
                            "waiting_since",
                            "last_attempted_at",
                            "finished_at",
                            "failed_at",
                            "cancelled_at",
                            "cancel_requested_at",
                            "tick",
                        ),
                        models.Value(
                            datetime.datetime(9999, 1, 1, 0, 0, tzinfo=datetime.UTC),
                            output_field=models.DateTimeField(),
                        ),
                    ),
                ),
                name="jobs_job_moments",
            ),
        ),
        AddConstraintNotValid(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("failures__gte", 0),
                    models.Q(
                        models.Q(("failures__lte", 32000), ("max_attempts__isnull", True)),
                        models.Q(
                            ("failures__lte", models.F("max_attempts")),
                            ("max_attempts__range", (1, 32000)),
                        ),
                        _connector="OR",
                    ),
                ),
                name="jobs_job_failures",
            ),
        ),
        AddConstraintNotValid(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("losses__gte", 0),
                    (
                        "losses__lte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("max_losses"), "+", models.Value(1)
                        ),
                    ),
                    ("max_losses__range", (0, 32000)),
                ),
                name="jobs_job_losses",
            ),
        ),
        AddConstraintNotValid(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(("attempt__range", (0, 2000000000))), name="jobs_job_attempt"
            ),
        ),
        AddConstraintNotValid(
            model_name="pausedtask",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    django.db.models.lookups.GreaterThanOrEqual(
                        django.db.models.functions.comparison.Least(
                            "paused_at", "paused_until", "parked_until", "over_seen_at"
                        ),
                        models.Value(
                            datetime.datetime(2, 1, 1, 0, 0, tzinfo=datetime.UTC),
                            output_field=models.DateTimeField(),
                        ),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.comparison.Greatest(
                            "paused_at", "paused_until", "parked_until", "over_seen_at"
                        ),
                        models.Value(
                            datetime.datetime(9999, 1, 1, 0, 0, tzinfo=datetime.UTC),
                            output_field=models.DateTimeField(),
                        ),
                    ),
                ),
                name="jobs_paused_task_moments",
            ),
        ),
        AddConstraintNotValid(
            model_name="queue",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    django.db.models.lookups.GreaterThanOrEqual(
                        django.db.models.functions.comparison.Least("paused_at", "paused_until"),
                        models.Value(
                            datetime.datetime(2, 1, 1, 0, 0, tzinfo=datetime.UTC),
                            output_field=models.DateTimeField(),
                        ),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.comparison.Greatest("paused_at", "paused_until"),
                        models.Value(
                            datetime.datetime(9999, 1, 1, 0, 0, tzinfo=datetime.UTC),
                            output_field=models.DateTimeField(),
                        ),
                    ),
                ),
                name="jobs_queue_moments",
            ),
        ),
        AddConstraintNotValid(
            model_name="silence",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    django.db.models.lookups.GreaterThanOrEqual(
                        django.db.models.functions.comparison.Least("since", "until"),
                        models.Value(
                            datetime.datetime(2, 1, 1, 0, 0, tzinfo=datetime.UTC),
                            output_field=models.DateTimeField(),
                        ),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.comparison.Greatest("since", "until"),
                        models.Value(
                            datetime.datetime(9999, 1, 1, 0, 0, tzinfo=datetime.UTC),
                            output_field=models.DateTimeField(),
                        ),
                    ),
                ),
                name="jobs_silence_moments",
            ),
        ),
        migrations.AddConstraint(
            model_name="refusal",
            constraint=models.UniqueConstraint(fields=("subject", "key"), name="jobs_refusal_once"),
        ),
    ]
