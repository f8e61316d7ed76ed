-- Park: due jobs of paused tasks are put off, so that claims need not walk over them again and
-- again: those among the first in each lane, which is what a claim walks over.
WITH lane AS (
    SELECT lane.queue_name, lane.priority
    FROM unnest(%(queues)s::text[], %(priorities)s::smallint[]) AS lane (queue_name, priority)
), paused AS MATERIALIZED (
    SELECT name, parked_until
    FROM jobs_paused_task
    WHERE coalesce(paused_until > statement_timestamp(), true)
      AND parked_until > statement_timestamp()
), found AS MATERIALIZED (
    SELECT job.id
    FROM lane
    CROSS JOIN LATERAL (
        SELECT first.id
        FROM (
            SELECT id, task
            FROM jobs_job
            WHERE claimable
              AND queue_name = lane.queue_name
              AND priority = lane.priority
              AND run_at <= statement_timestamp()
            ORDER BY queue_name, priority DESC, run_at, id
            LIMIT 5 * %(limit)s
        ) AS first
        WHERE first.task = ANY (ARRAY (SELECT name FROM paused))
    ) AS job
    LIMIT %(limit)s
), locked AS MATERIALIZED (
    SELECT id
    FROM jobs_job
    WHERE id = ANY (ARRAY (SELECT id FROM found)) AND claimable
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
), parked AS (
    UPDATE jobs_job
    SET run_at = (SELECT parked_until FROM paused WHERE name = task)
    WHERE id = ANY (ARRAY (SELECT id FROM locked))
    RETURNING id
)
SELECT count(*) FROM parked
