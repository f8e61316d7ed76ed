-- How far running jobs have come; fenced, and never waiting for a row.
WITH mine AS MATERIALIZED (
    SELECT job.id, told.done, told.total, told.message
    FROM unnest(
        %(ids)s::uuid[], %(claims)s::uuid[], %(done)s::float8[], %(total)s::float8[],
        %(messages)s::text[]
    ) AS told (id, claim, done, total, message)
    JOIN jobs_job AS job ON job.id = told.id
    WHERE job.claim = told.claim AND job.state = 'running'
    ORDER BY job.id
    FOR NO KEY UPDATE OF job SKIP LOCKED
)
UPDATE jobs_job AS job
SET progress_done = mine.done, progress_total = mine.total, progress_message = mine.message
FROM mine
WHERE job.id = mine.id
