"""Logs and silences. The tables come first: a foreign key locks the jobs, and whoever writes jobs
and then attempts must not be met the other way round."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models
from django.db.models import Q

import jobs.models.functions


class Migration(migrations.Migration):
    dependencies = [("jobs", "0007_waiting")]

    operations = [
        migrations.CreateModel(
            name="AttemptLog",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "job",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="logs",
                        to="jobs.job",
                        verbose_name="job",
                    ),
                ),
                ("attempt", models.IntegerField(verbose_name="attempt")),
                ("lines", models.IntegerField(verbose_name="lines")),
                ("text", models.TextField(verbose_name="log")),
                (
                    "written_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="written at",
                    ),
                ),
            ],
            options={
                "verbose_name": "log",
                "verbose_name_plural": "logs",
                "db_table": "jobs_log",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("job", "attempt"), name="jobs_log_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Silence",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("task", models.CharField(max_length=255, verbose_name="task")),
                ("fingerprint", models.CharField(max_length=16, verbose_name="kind")),
                (
                    "since",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="silenced at",
                    ),
                ),
                (
                    "by",
                    models.CharField(db_default="", max_length=255, verbose_name="silenced by"),
                ),
                ("because", models.TextField(db_default="", verbose_name="reason")),
                ("until", models.DateTimeField(null=True, verbose_name="silenced until")),
            ],
            options={
                "verbose_name": "silence",
                "verbose_name_plural": "silences",
                "db_table": "jobs_silence",
                "permissions": [("silence_kind", "Can silence failures of one kind")],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("task", "fingerprint"), name="jobs_silence_once"
                    ),
                    models.CheckConstraint(
                        condition=Q(jobs.models.functions.IsFinite("until")),
                        name="jobs_silence_moments",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="worker",
            name="claim_time",
            field=models.FloatField(null=True, verbose_name="claim time"),
        ),
    ]
