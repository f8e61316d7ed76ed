-- As look.sql, but only into lanes that are known, and only from a moment on: what was claimed
-- before it is not walked over, even where its entries cannot be removed.
SELECT
    first.queue_name,
    first.priority,
    extract(epoch FROM first.run_at)::float8,
    first.id,
    extract(epoch FROM statement_timestamp())::float8
FROM (SELECT) AS always
LEFT JOIN (
    SELECT lane.queue_name, lane.priority, job.run_at, job.id
    FROM unnest(
        %(queues)s::text[], %(priorities)s::smallint[], %(since)s::bigint[]
    ) AS lane (queue_name, priority, since)
    CROSS JOIN LATERAL (
        SELECT run_at, id
        FROM jobs_job
        WHERE claimable
          AND queue_name = lane.queue_name
          AND priority = lane.priority
          AND run_at >= coalesce(to_timestamp(lane.since / 1e6::float8), '-infinity')
        ORDER BY queue_name, priority DESC, run_at, id
        LIMIT 1
    ) AS job
    LEFT JOIN jobs_queue AS queue ON queue.name = lane.queue_name
    WHERE queue.paused_at IS NULL OR queue.paused_until <= statement_timestamp()
) AS first ON true
