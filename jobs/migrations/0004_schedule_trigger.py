"""The trigger that notices every change of a schedule, however it is made.

A row whose rule, start, end or switch has changed has no next tick until a beat has found it,
from the moment of the change on (`stale_since`); the beats are notified. What the beats
themselves write is not among the trigger's columns, and is written by nobody else.
"""

from django.db import migrations

_TRIGGER = """
CREATE FUNCTION jobs_schedule_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        -- Whoever writes what people write does not write what the beats have written meanwhile:
        -- a copy of the row that is saved whole may be an old one.
        NEW.next_run_at := OLD.next_run_at;
        NEW.stale_since := OLD.stale_since;
        NEW.last_tick := OLD.last_tick;
        NEW.last_job_id := OLD.last_job_id;
        NEW.runs := OLD.runs;
        NEW.skips := OLD.skips;
        NEW.skipped_tick := OLD.skipped_tick;
        NEW.skipped_because := OLD.skipped_because;
        NEW.problem := OLD.problem;
        NEW.missed_tick := OLD.missed_tick;
    END IF;
    IF NOT NEW.enabled OR NEW.retired_at IS NOT NULL THEN
        NEW.next_run_at := NULL;
        NEW.stale_since := NULL;
        NEW.missed_tick := NULL;
        NEW.problem := '';
    ELSIF TG_OP = 'INSERT' OR (
        NEW.enabled, NEW.retired_at, NEW.kind, NEW.line, NEW.timezone, NEW.days, NEW.interval,
        NEW.anchor, NEW.event, NEW.latitude, NEW.longitude, NEW.starts_at, NEW.ends_at,
        NEW.max_runs
    ) IS DISTINCT FROM (
        OLD.enabled, OLD.retired_at, OLD.kind, OLD.line, OLD.timezone, OLD.days, OLD.interval,
        OLD.anchor, OLD.event, OLD.latitude, OLD.longitude, OLD.starts_at, OLD.ends_at,
        OLD.max_runs
    ) THEN
        NEW.next_run_at := NULL;
        NEW.stale_since := statement_timestamp();
        NEW.missed_tick := NULL;
        NEW.problem := '';
        PERFORM pg_notify('jobs_schedule', '');
    ELSIF OLD.problem <> '' THEN
        -- Whatever else was changed may have mended it: it is tried at once.
        NEW.next_run_at := statement_timestamp();
        PERFORM pg_notify('jobs_schedule', '');
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER jobs_schedule_changed
BEFORE INSERT OR UPDATE OF
    enabled, retired_at, kind, line, timezone, days, interval, anchor, event, latitude,
    longitude, starts_at, ends_at, max_runs, task, arguments, queue_name, priority, run_after,
    max_attempts, max_losses, timeout, expires_after, metadata, tick_argument, catch_up,
    catch_up_limit, grace, overlap, jitter
ON jobs_schedule
FOR EACH ROW EXECUTE FUNCTION jobs_schedule_changed();
-- What was made before there was a trigger.
UPDATE jobs_schedule
SET stale_since = statement_timestamp()
WHERE enabled AND retired_at IS NULL AND next_run_at IS NULL
"""
_NO_TRIGGER = """
DROP TRIGGER jobs_schedule_changed ON jobs_schedule;
DROP FUNCTION jobs_schedule_changed()
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0003_schedules")]

    operations = [migrations.RunSQL(_TRIGGER, _NO_TRIGGER)]
