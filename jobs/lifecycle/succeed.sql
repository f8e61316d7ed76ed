-- running → succeeded, for a batch. Fenced: a row that carries another claim by now, or has
-- ended, is not written and not returned. Locked in the order of ids, so that two batches
-- never wait for each other in a ring; a row that somebody else holds is left for the next
-- batch instead of holding up this one.
-- LATERAL and ctid are fences, too: a plan that was made when the table was empty would walk
-- over all of it for each batch, with any join that could be turned around.
WITH mine AS MATERIALIZED (
    SELECT job.place, ended.result, ended.started_at, ended.finished_at
    FROM (
        SELECT *
        FROM unnest(
            %(ids)s::uuid[], %(claims)s::uuid[], %(results)s::jsonb[], %(started)s::bigint[],
            %(finished)s::bigint[]
        ) AS given (id, claim, result, started_at, finished_at)
        ORDER BY id
    ) AS ended
    CROSS JOIN LATERAL (
        SELECT ctid AS place
        FROM jobs_job
        WHERE id = ended.id AND claim = ended.claim AND state = 'running'
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS job
)
UPDATE jobs_job AS job
SET state = 'succeeded',
    result = mine.result,
    last_attempted_at = to_timestamp(mine.started_at / 1e6::float8),
    finished_at = to_timestamp(mine.finished_at / 1e6::float8)
FROM mine
WHERE job.ctid = mine.place
RETURNING job.id
