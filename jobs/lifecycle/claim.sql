-- Claim: queued → running, for as many due jobs as one runner asks for. Rows that another
-- runner is claiming are skipped, not waited for. One index probe for each lane (queue and
-- priority), so that jobs of the far future in a higher lane stall nobody; from a place on that
-- the runner remembers, so that dead entries before it are not walked over.
-- `= ANY (ARRAY (…))` and MATERIALIZED are fences: a join may flip to a scan of the whole
-- table, and an inlined LIMIT may be run again and claim too many.
-- The claim's own row goes in with the same statement: a claim whose reply was lost can be
-- found by it, and given back.
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
    -- A worker that was taken for dead has no row, and its claims would be orphans at birth.
    AND EXISTS (SELECT FROM jobs_worker WHERE id = %(worker_id)s::uuid)
), candidate AS MATERIALIZED (
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
        LIMIT %(limit)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS job
    ORDER BY lane.priority DESC, job.run_at, job.id
    LIMIT %(limit)s
), claimed AS (
    UPDATE jobs_job
    SET state = 'running',
        claimable = false,
        claim = %(claim)s::uuid,
        worker = %(worker)s,
        attempt = attempt + 1,
        last_attempted_at = statement_timestamp()
    WHERE id = ANY (ARRAY (SELECT id FROM candidate))
    RETURNING
        id, task, arguments, attempt, failures, max_attempts, queue_name, priority, run_at,
        metadata,
        extract(epoch FROM timeout)::float8 AS timeout,
        extract(epoch FROM expires_at)::float8 AS expires_at
), held AS (
    INSERT INTO jobs_claim (id, worker_id, runner, ids)
    SELECT %(claim)s::uuid, %(worker_id)s::uuid, %(runner)s::uuid, array_agg(id)
    FROM claimed
    HAVING count(*) > 0
)
SELECT
    id, task, arguments, attempt, failures, max_attempts, queue_name, metadata, timeout,
    expires_at, priority, extract(epoch FROM run_at)::float8,
    extract(epoch FROM statement_timestamp())::float8
FROM claimed
