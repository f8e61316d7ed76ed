-- Unpark: what was put off while its task was paused is due again, now that the pause is over. It
-- stands in each lane at the moment that the pause has given it, in the order in which it came.
-- `only_look`: nothing is put back, and the last column is one that would be.
WITH lane AS (
    SELECT lane.queue_name, lane.priority
    FROM unnest(%(queues)s::text[], %(priorities)s::smallint[]) AS lane (queue_name, priority)
), resumed AS MATERIALIZED (
    SELECT name, parked_until
    FROM jobs_paused_task
    WHERE paused_until <= statement_timestamp() AND parked_until > statement_timestamp()
), found AS MATERIALIZED (
    SELECT job.id
    FROM lane
    CROSS JOIN resumed
    CROSS JOIN LATERAL (
        SELECT id
        FROM jobs_job
        WHERE claimable
          AND queue_name = lane.queue_name
          AND priority = lane.priority
          AND run_at = resumed.parked_until
          AND task = resumed.name
          AND id <> ALL (%(set_aside)s::uuid[])
        ORDER BY queue_name, priority DESC, run_at, id
        LIMIT %(limit)s
    ) AS job
    LIMIT %(limit)s
), locked AS MATERIALIZED (
    SELECT id
    FROM jobs_job
    WHERE id = ANY (ARRAY (SELECT id FROM found)) AND claimable
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
), unparked AS (
    UPDATE jobs_job
    SET run_at = statement_timestamp()
    WHERE id = ANY (ARRAY (SELECT id FROM locked)) AND NOT %(only_look)s
    RETURNING id, queue_name
)
SELECT (SELECT count(*) FROM unparked), (
    -- As in insert.sql.
    SELECT count(pg_notify('jobs', due.queue_name))
    FROM (SELECT DISTINCT queue_name FROM unparked) AS due
    WHERE %(notify)s AND EXISTS (
        SELECT FROM jobs_worker
        WHERE idle <> '{}'
          AND (queues IS NULL OR due.queue_name = ANY (queues))
          AND due.queue_name <> ALL (excluded_queues)
    )
), (SELECT id FROM locked LIMIT 1)
