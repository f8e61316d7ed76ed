-- Which job a claim of one would take: the same lanes, conditions and order as in claim.sql (a test
-- compares them). Asked after a claim of one was refused.
WITH lane AS (
    SELECT
        lane.queue_name,
        lane.priority,
        coalesce(to_timestamp(lane.mark / 1e6::float8), '-infinity') AS mark,
        lane.id
    FROM unnest(
        %(queues)s::text[], %(priorities)s::smallint[], %(marks)s::bigint[], %(ids)s::uuid[]
    ) AS lane (queue_name, priority, mark, id)
    WHERE NOT EXISTS (
        SELECT FROM jobs_queue AS queue
        WHERE queue.name = lane.queue_name
          AND queue.paused_at IS NOT NULL
          AND coalesce(queue.paused_until > statement_timestamp(), true)
    )
), candidate AS (
    SELECT job.id
    FROM lane
    CROSS JOIN LATERAL (
        SELECT id, run_at
        FROM jobs_job
        WHERE claimable
          AND queue_name = lane.queue_name
          AND priority = lane.priority
          AND (run_at, id) >= (lane.mark, lane.id)
          AND run_at <= statement_timestamp()
          -- Jobs whose claim was refused, which would take every other claim with them.
          AND id <> ALL (%(set_aside)s::uuid[])
          -- Read once, and usually none; what is skipped here is soon put off (see park.sql).
          AND task <> ALL (ARRAY (
              SELECT name FROM jobs_paused_task
              WHERE coalesce(paused_until > statement_timestamp(), true)
          ))
        ORDER BY queue_name, priority DESC, run_at, id
        LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS job
    ORDER BY lane.priority DESC, job.run_at, job.id
    LIMIT 1
)
SELECT id FROM candidate
