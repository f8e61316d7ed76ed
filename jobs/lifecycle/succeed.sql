-- running → succeeded, for a batch. Fenced: a row that carries another claim by now, or has
-- ended, is not written and not returned. Locked in the order of ids, so that two batches
-- never wait for each other in a ring; a row that somebody else holds is left for the next
-- batch instead of holding up this one.
WITH mine AS MATERIALIZED (
    SELECT job.id, ended.result, ended.started_at, ended.finished_at
    FROM unnest(
        %(ids)s::uuid[], %(claims)s::uuid[], %(results)s::jsonb[], %(started)s::float8[],
        %(finished)s::float8[]
    ) AS ended (id, claim, result, started_at, finished_at)
    JOIN jobs_job AS job ON job.id = ended.id
    WHERE job.claim = ended.claim AND job.state = 'running'
    ORDER BY job.id
    FOR NO KEY UPDATE OF job SKIP LOCKED
)
UPDATE jobs_job AS job
SET state = 'succeeded',
    result = mine.result,
    last_attempted_at = to_timestamp(mine.started_at),
    finished_at = to_timestamp(mine.finished_at)
FROM mine
WHERE job.id = mine.id
RETURNING job.id
