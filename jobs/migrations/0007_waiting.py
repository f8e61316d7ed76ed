"""A moment that is set exactly while a job waits. Its CHECK and its index are validated and built
in 0009, beside a site and workers that go on."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("jobs", "0006_control_room")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="waiting_since",
            field=models.DateTimeField(null=True, verbose_name="waiting since"),
        ),
        AddConstraintNotValid(
            model_name="job",
            constraint=models.CheckConstraint(
                name="jobs_job_waiting",
                condition=(
                    (Q(waiting_since__isnull=True) & ~Q(state="waiting"))
                    | (Q(waiting_since__isnull=False) & Q(state="waiting"))
                ),
            ),
        ),
    ]
