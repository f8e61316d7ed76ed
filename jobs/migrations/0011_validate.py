"""Bring rows that SQL has written within the new bounds, and validate the bounds, beside a site and
workers that go on. A moment that Python cannot read becomes the last one that it can."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations

_FIRST, _LAST = "'0002-01-01 00:00+00'::timestamptz", "'9998-12-31 00:00+00'::timestamptz"
_MOMENTS = {
    "jobs_job": (
        "enqueued_at", "run_at", "expires_at", "waiting_since", "last_attempted_at", "finished_at",
        "failed_at", "cancelled_at", "cancel_requested_at", "tick",
    ),
    "jobs_attempt": ("started_at", "finished_at"),
    "jobs_queue": ("paused_at", "paused_until"),
    "jobs_paused_task": ("paused_at", "paused_until", "parked_until", "over_seen_at"),
    "jobs_silence": ("since", "until"),
}  # fmt: skip


def _within(table: str, columns: tuple[str, ...]) -> str:
    names = ", ".join(columns)
    changes = ", ".join(
        # least and greatest would make a moment of NULL.
        f"{name} = CASE WHEN {name} IS NOT NULL THEN least(greatest({name}, {_FIRST}), {_LAST}) END"
        for name in columns
    )
    return (
        f"UPDATE {table} SET {changes} "  # noqa: S608
        f"WHERE least({names}) < {_FIRST} OR greatest({names}) >= '9999-01-01 00:00+00'"
    )


_COUNTS = """
UPDATE jobs_job
SET max_attempts = least(greatest(max_attempts, 1), 32000),
    failures = least(failures, greatest(max_attempts, 1), 32000),
    max_losses = least(greatest(max_losses, 0), 32000),
    losses = least(losses, least(greatest(max_losses, 0), 32000) + 1),
    attempt = least(greatest(attempt, 0), 2000000000)
WHERE max_attempts NOT BETWEEN 1 AND 32000
   OR failures > 32000
   OR max_losses NOT BETWEEN 0 AND 32000
   OR attempt NOT BETWEEN 0 AND 2000000000
"""
_CHECKS = (
    ("attempt", "jobs_attempt_moments"),
    ("job", "jobs_job_moments"),
    ("job", "jobs_job_failures"),
    ("job", "jobs_job_losses"),
    ("job", "jobs_job_attempt"),
    ("job", "jobs_job_claimable"),
    ("job", "jobs_job_waiting"),
    ("job", "jobs_job_final_is_finished"),
    ("job", "jobs_job_failed"),
    ("job", "jobs_job_cancelled"),
    ("pausedtask", "jobs_paused_task_moments"),
    ("queue", "jobs_queue_moments"),
    ("silence", "jobs_silence_moments"),
)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("jobs", "0010_trust")]

    operations = [
        *(
            migrations.RunSQL(_within(table, columns), migrations.RunSQL.noop)
            for table, columns in _MOMENTS.items()
        ),
        migrations.RunSQL(_COUNTS, migrations.RunSQL.noop),
        *(ValidateConstraint(model_name=model, name=name) for model, name in _CHECKS),
    ]
