-- This runner's own rows of some minutes, whole: sent again after a doubtful commit they say the
-- same. What is as old as rows that are folded is left out, by the server's own clock: it would be
-- counted twice. Returns that clock.
WITH written AS (
    INSERT INTO jobs_statistic (
        starts_at, seconds, queue_name, task, runner, succeeded, failed, retried, cancelled,
        snoozed, lost, waits, runs
    )
    SELECT
        to_timestamp(cell.minute), 60, cell.queue_name, cell.task, %(runner)s::uuid,
        cell.succeeded, cell.failed, cell.retried, cell.cancelled, cell.snoozed, cell.lost,
        cell.waits::integer[], cell.runs::integer[]
    FROM unnest(
        %(minutes)s::float8[], %(queues)s::text[], %(tasks)s::text[], %(succeeded)s::integer[],
        %(failed)s::integer[], %(retried)s::integer[], %(cancelled)s::integer[],
        %(snoozed)s::integer[], %(lost)s::integer[], %(waits)s::text[], %(runs)s::text[]
    ) AS cell (
        minute, queue_name, task, succeeded, failed, retried, cancelled, snoozed, lost, waits, runs
    )
    WHERE to_timestamp(cell.minute) > statement_timestamp() - interval '4 minutes'
      AND to_timestamp(cell.minute) < statement_timestamp() + interval '1 minute'
    ON CONFLICT (seconds, starts_at, queue_name, task, runner) DO UPDATE
    SET succeeded = excluded.succeeded,
        failed = excluded.failed,
        retried = excluded.retried,
        cancelled = excluded.cancelled,
        snoozed = excluded.snoozed,
        lost = excluded.lost,
        waits = excluded.waits,
        runs = excluded.runs
)
SELECT extract(epoch FROM statement_timestamp())::float8
