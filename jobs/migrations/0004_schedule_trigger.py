"""The trigger that notices every change of a schedule, however it is made.

A row whose rule, start, end or switch has changed has no next tick until a beat has found it,
from the moment of the change on (`stale_since`); the beats are notified. What the beats
themselves write is not among the trigger's columns.
"""

from django.db import migrations

_TRIGGER = """
CREATE FUNCTION jobs_schedule_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT NEW.enabled OR NEW.retired_at IS NOT NULL THEN
        NEW.next_run_at := NULL;
        NEW.stale_since := NULL;
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
        NEW.problem := '';
        PERFORM pg_notify('jobs_schedule', '');
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER jobs_schedule_changed
BEFORE INSERT OR UPDATE OF
    enabled, retired_at, kind, line, timezone, days, interval, anchor, event, latitude,
    longitude, starts_at, ends_at, max_runs
ON jobs_schedule
FOR EACH ROW EXECUTE FUNCTION jobs_schedule_changed()
"""
_NO_TRIGGER = """
DROP TRIGGER jobs_schedule_changed ON jobs_schedule;
DROP FUNCTION jobs_schedule_changed()
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0003_schedules")]

    operations = [migrations.RunSQL(_TRIGGER, _NO_TRIGGER)]
