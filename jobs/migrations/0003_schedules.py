import datetime
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0002_storage"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="schedule",
            options={
                "ordering": ("name",),
                "permissions": [("run_schedule", "Can run schedules now")],
                "verbose_name": "schedule",
                "verbose_name_plural": "schedules",
            },
        ),
        migrations.RemoveConstraint(
            model_name="schedule",
            name="jobs_schedule_kind",
        ),
        migrations.AddField(
            model_name="schedule",
            name="catch_up",
            field=models.CharField(
                choices=[
                    ("latest", "one run for all of them"),
                    ("none", "none"),
                    ("all", "a run for each"),
                ],
                db_default="latest",
                default="latest",
                max_length=6,
                verbose_name="ticks that were missed",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="catch_up_limit",
            field=models.SmallIntegerField(
                db_default=100, default=100, verbose_name="missed ticks at most"
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="days",
            field=models.CharField(
                choices=[("either", "either is enough"), ("both", "both have to fit")],
                db_default="either",
                default="either",
                max_length=6,
                verbose_name="day of month and day of week",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="description",
            field=models.TextField(
                blank=True, db_default="", default="", verbose_name="description"
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="ends_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="ends at"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="event",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=24, verbose_name="event"
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="expires_after",
            field=models.DurationField(blank=True, null=True, verbose_name="expires after"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="grace",
            field=models.DurationField(blank=True, null=True, verbose_name="late by at most"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="jitter",
            field=models.DurationField(blank=True, null=True, verbose_name="jitter"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="latitude",
            field=models.FloatField(blank=True, null=True, verbose_name="latitude"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="longitude",
            field=models.FloatField(blank=True, null=True, verbose_name="longitude"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="max_attempts",
            field=models.SmallIntegerField(blank=True, null=True, verbose_name="attempts at most"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="max_losses",
            field=models.SmallIntegerField(blank=True, null=True, verbose_name="losses at most"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="max_runs",
            field=models.IntegerField(blank=True, null=True, verbose_name="runs at most"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="metadata",
            field=models.JSONField(blank=True, null=True, verbose_name="metadata"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="overlap",
            field=models.CharField(
                choices=[
                    ("allow", "run beside it"),
                    ("skip", "skip the new one"),
                    ("cancel", "cancel the old one"),
                ],
                db_default="allow",
                default="allow",
                max_length=6,
                verbose_name="while the last run still lives",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="priority",
            field=models.SmallIntegerField(blank=True, null=True, verbose_name="priority"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="queue_name",
            field=models.CharField(blank=True, max_length=128, null=True, verbose_name="queue"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="run_after",
            field=models.DurationField(blank=True, null=True, verbose_name="run after"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="runs",
            field=models.IntegerField(db_default=0, default=0, verbose_name="runs"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="skipped_because",
            field=models.CharField(
                db_default="", default="", max_length=16, verbose_name="skipped because"
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="skipped_tick",
            field=models.DateTimeField(null=True, verbose_name="last skipped tick"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="skips",
            field=models.IntegerField(db_default=0, default=0, verbose_name="skipped"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="stale_since",
            field=models.DateTimeField(null=True, verbose_name="to be planned since"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="starts_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="starts at"),
        ),
        migrations.AddField(
            model_name="schedule",
            name="tick_argument",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                max_length=64,
                verbose_name="argument for the tick",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="timeout",
            field=models.DurationField(blank=True, null=True, verbose_name="time limit"),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="anchor",
            field=models.DateTimeField(blank=True, null=True, verbose_name="anchor"),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="enabled",
            field=models.BooleanField(db_default=True, default=True, verbose_name="enabled"),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="interval",
            field=models.DurationField(blank=True, null=True, verbose_name="interval"),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="kind",
            field=models.CharField(
                choices=[
                    ("cron", "cron"),
                    ("interval", "interval"),
                    ("at", "once"),
                    ("solar", "the sun"),
                ],
                max_length=8,
                verbose_name="kind",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="line",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=255, verbose_name="cron line"
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="problem",
            field=models.TextField(db_default="", default="", verbose_name="problem"),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="source",
            field=models.CharField(
                choices=[("code", "code"), ("settings", "settings"), ("hand", "by hand")],
                db_default="hand",
                max_length=8,
                verbose_name="declared in",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="timezone",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=64, verbose_name="time zone"
            ),
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(
                models.F("stale_since"),
                condition=models.Q(("stale_since__isnull", False)),
                name="jobs_schedule_stale",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "cron"), models.Q(("line", ""), _negated=True)),
                    models.Q(
                        ("anchor__isnull", False), ("interval__isnull", False), ("kind", "interval")
                    ),
                    models.Q(("anchor__isnull", False), ("kind", "at")),
                    models.Q(
                        ("kind", "solar"),
                        ("latitude__isnull", False),
                        ("longitude__isnull", False),
                        models.Q(("event", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="jobs_schedule_kind",
            ),
        ),
        migrations.AddField(
            model_name='schedule',
            name='missed_tick',
            field=models.DateTimeField(null=True, verbose_name='missed tick'),
        ),
        migrations.AddConstraint(
            model_name='schedule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('starts_at__isnull', True), ('starts_at__range', (datetime.datetime(1900, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), datetime.datetime(9000, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))), _connector='OR'), models.Q(('ends_at__isnull', True), ('ends_at__range', (datetime.datetime(1900, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), datetime.datetime(9000, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))), _connector='OR'), models.Q(('anchor__isnull', True), ('anchor__range', (datetime.datetime(1900, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), datetime.datetime(9000, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))), _connector='OR'), models.Q(('next_run_at__isnull', True), ('next_run_at__range', (datetime.datetime(1900, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), datetime.datetime(9000, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))), _connector='OR'), models.Q(('stale_since__isnull', True), ('stale_since__range', (datetime.datetime(1900, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), datetime.datetime(9000, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))), _connector='OR'), models.Q(('last_tick__isnull', True), ('last_tick__range', (datetime.datetime(1900, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), datetime.datetime(9000, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))), _connector='OR'), models.Q(('missed_tick__isnull', True), ('missed_tick__range', (datetime.datetime(1900, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), datetime.datetime(9000, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))), _connector='OR'), models.Q(('skipped_tick__isnull', True), ('skipped_tick__range', (datetime.datetime(1900, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), datetime.datetime(9000, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))), _connector='OR'), models.Q(('retired_at__isnull', True), ('retired_at__range', (datetime.datetime(1900, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), datetime.datetime(9000, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))), _connector='OR'), models.Q(('created_at__isnull', True), ('created_at__range', (datetime.datetime(1900, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), datetime.datetime(9000, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))), _connector='OR')), name='jobs_schedule_moments'),
        ),
        migrations.AddConstraint(
            model_name='schedule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('interval__isnull', True), ('interval__range', (datetime.timedelta(0), datetime.timedelta(days=36525))), _connector='OR'), models.Q(('grace__isnull', True), ('grace__range', (datetime.timedelta(0), datetime.timedelta(days=36525))), _connector='OR'), models.Q(('jitter__isnull', True), ('jitter__range', (datetime.timedelta(0), datetime.timedelta(days=36525))), _connector='OR'), models.Q(('run_after__isnull', True), ('run_after__range', (datetime.timedelta(0), datetime.timedelta(days=36525))), _connector='OR'), models.Q(('timeout__isnull', True), ('timeout__range', (datetime.timedelta(0), datetime.timedelta(days=36525))), _connector='OR'), models.Q(('expires_after__isnull', True), ('expires_after__range', (datetime.timedelta(0), datetime.timedelta(days=36525))), _connector='OR')), name='jobs_schedule_spans'),
        ),
    ]
