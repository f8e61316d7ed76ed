-- Which queues and priorities hold claimable jobs, and which is the first in each. One probe of
-- the claim's index for each (a loose index scan); but where an open snapshot keeps dead
-- entries from being removed, each probe walks over those: see glance.sql.
WITH RECURSIVE lane AS (
    (
        SELECT queue_name, priority, run_at, id
        FROM jobs_job
        WHERE claimable
        ORDER BY queue_name, priority DESC, run_at, id
        LIMIT 1
    )
    UNION ALL
    SELECT following.queue_name, following.priority, following.run_at, following.id
    FROM lane
    CROSS JOIN LATERAL (
        (
            SELECT queue_name, priority, run_at, id
            FROM jobs_job
            WHERE claimable AND queue_name = lane.queue_name AND priority < lane.priority
            ORDER BY queue_name, priority DESC, run_at, id
            LIMIT 1
        )
        UNION ALL
        (
            SELECT queue_name, priority, run_at, id
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
    first.queue_name,
    first.priority,
    extract(epoch FROM first.run_at)::float8,
    first.id,
    extract(epoch FROM statement_timestamp())::float8
-- The clock is told even where there is no job.
FROM (SELECT) AS always
LEFT JOIN (
    SELECT lane.*
    FROM lane
    LEFT JOIN jobs_queue AS queue ON queue.name = lane.queue_name
    WHERE queue.paused_at IS NULL OR queue.paused_until <= statement_timestamp()
) AS first ON true
