-- Insert one call of a task, or many: the job and the data it belongs to commit together.
-- Who sleeps is notified at commit, and only then: a NOTIFY takes a lock that makes all
-- notifying commits of the server wait for one another, so nobody pays it under load, and
-- asking whether somebody sleeps costs no round trip of its own.
WITH due AS (
    SELECT greatest(
        coalesce(%(run_at)s::timestamptz, statement_timestamp() + %(delay)s::interval),
        statement_timestamp()
    ) AS at
), job AS (
    INSERT INTO jobs_job (
        id, task, queue_name, priority, arguments, metadata, run_at, expires_at, timeout,
        max_attempts, max_losses, schedule_id, tick
    )
    SELECT
        call.id, %(task)s, %(queue_name)s, %(priority)s, call.arguments, %(metadata)s::jsonb,
        due.at, due.at + %(expires_after)s::interval, %(timeout)s::interval,
        %(max_attempts)s::smallint, %(max_losses)s::smallint, %(schedule_id)s::bigint,
        %(tick)s::timestamptz
    FROM due, unnest(%(ids)s::uuid[], %(arguments)s::jsonb[]) AS call (id, arguments)
    RETURNING run_at, expires_at, enqueued_at
), bell AS (
    SELECT pg_notify('jobs', %(queue_name)s)
    FROM due
    WHERE %(notify)s
      AND due.at < statement_timestamp() + %(horizon)s::interval
      AND EXISTS (
        SELECT FROM jobs_worker
        WHERE idle <> '{}'
          AND (queues IS NULL OR %(queue_name)s = ANY (queues))
          AND %(queue_name)s <> ALL (excluded_queues)
      )
)
SELECT job.run_at, job.expires_at, job.enqueued_at, (SELECT count(*) FROM bell)
FROM job
LIMIT 1
