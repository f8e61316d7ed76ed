-- Insert one call of a task, or many: the job and the data it belongs to commit together.
-- Who sleeps is notified at commit, and only then: a NOTIFY takes a lock that makes all
-- notifying commits of the server wait for one another, so nobody pays it under load, and
-- asking whether somebody sleeps costs no round trip of its own. (One notification for each
-- sleeper: PostgreSQL sends equal ones of a transaction once.)
WITH job AS (
    INSERT INTO jobs_job (
        id, task, queue_name, priority, arguments, metadata, enqueued_at, run_at, expires_at,
        timeout, max_attempts, max_losses, schedule_id, tick
    )
    SELECT
        call.id, %(task)s, %(queue_name)s, %(priority)s, call.arguments, %(metadata)s::jsonb,
        statement_timestamp(), due.at, due.at + %(expires_after)s::interval, %(timeout)s::interval,
        %(max_attempts)s::smallint, %(max_losses)s::smallint, %(schedule_id)s::bigint,
        %(tick)s::timestamptz
    FROM unnest(%(ids)s::uuid[], %(arguments)s::jsonb[]) AS call (id, arguments)
    CROSS JOIN (
        SELECT greatest(
            coalesce(%(run_at)s::timestamptz, statement_timestamp() + %(delay)s * interval '1 second'),
            statement_timestamp()
        ) AS at
    ) AS due
    RETURNING run_at, expires_at, enqueued_at
)
SELECT
    extract(epoch FROM job.run_at)::float8,
    extract(epoch FROM job.expires_at)::float8,
    extract(epoch FROM job.enqueued_at)::float8,
    (
        SELECT count(pg_notify('jobs', %(queue_name)s))
        FROM jobs_worker
        WHERE %(notify)s
          AND job.run_at < statement_timestamp() + %(horizon)s * interval '1 second'
          AND idle <> '{}'
          AND (queues IS NULL OR %(queue_name)s = ANY (queues))
          AND %(queue_name)s <> ALL (excluded_queues)
    )
FROM job
LIMIT 1
