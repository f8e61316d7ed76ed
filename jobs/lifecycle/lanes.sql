-- Which queues and priorities hold claimable jobs, and in how many seconds the first job of
-- each is due. One probe of the claim's index for each (a loose index scan), never a walk.
WITH RECURSIVE lane AS (
    (
        SELECT queue_name, priority, run_at
        FROM jobs_job
        WHERE claimable
        ORDER BY queue_name, priority DESC, run_at, id
        LIMIT 1
    )
    UNION ALL
    SELECT following.queue_name, following.priority, following.run_at
    FROM lane
    CROSS JOIN LATERAL (
        (
            SELECT queue_name, priority, run_at
            FROM jobs_job
            WHERE claimable AND queue_name = lane.queue_name AND priority < lane.priority
            ORDER BY queue_name, priority DESC, run_at, id
            LIMIT 1
        )
        UNION ALL
        (
            SELECT queue_name, priority, run_at
            FROM jobs_job
            WHERE claimable AND queue_name > lane.queue_name
            ORDER BY queue_name, priority DESC, run_at, id
            LIMIT 1
        )
        ORDER BY queue_name, priority DESC
        LIMIT 1
    ) AS following
)
SELECT
    lane.queue_name,
    lane.priority,
    extract(epoch FROM lane.run_at - statement_timestamp())::float8
FROM lane
LEFT JOIN jobs_queue AS queue ON queue.name = lane.queue_name
WHERE queue.paused_at IS NULL
