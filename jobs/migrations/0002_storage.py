"""How PostgreSQL stores and vacuums the tables, which models cannot say.

fillfactor 50 leaves room on each page for the two versions that a job's finish writes, so
that it stays a heap-only update. The thresholds of autovacuum are absolute: a share of a
hundred million finished jobs would come too late. Truncation takes a lock that stalls claims.
"""

from django.db import migrations

_JOB = """
ALTER TABLE jobs_job SET (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.02,
    vacuum_truncate = off
)
"""

# A handful of rows, each written again and again.
_SMALL = """
ALTER TABLE {table} SET (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off
)
"""


_SMALL_TABLES = ("jobs_claim", "jobs_worker", "jobs_schedule", "jobs_statistic", "jobs_unique")


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_initial")]

    operations = [
        migrations.RunSQL(_JOB, "ALTER TABLE jobs_job RESET (fillfactor)"),
        *(
            migrations.RunSQL(_SMALL.format(table=table), f"ALTER TABLE {table} RESET (fillfactor)")
            for table in (
                "jobs_claim",
                "jobs_worker",
                "jobs_schedule",
                "jobs_statistic",
                "jobs_unique",
            )
        ),
    ]
