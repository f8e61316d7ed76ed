-- How far running jobs have come; fenced, and never waiting for a row. LATERAL and ctid as in
-- succeed.sql.
WITH mine AS MATERIALIZED (
    SELECT job.place, told.done, told.total, told.message
    FROM (
        SELECT *
        FROM unnest(
            %(ids)s::uuid[], %(claims)s::uuid[], %(done)s::float8[], %(total)s::float8[],
            %(messages)s::text[]
        ) AS given (id, claim, done, total, message)
        ORDER BY id
    ) AS told
    CROSS JOIN LATERAL (
        SELECT ctid AS place
        FROM jobs_job
        WHERE id = told.id AND claim = told.claim AND state = 'running'
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS job
)
UPDATE jobs_job AS job
SET progress_done = mine.done, progress_total = mine.total, progress_message = mine.message
FROM mine
WHERE job.ctid = mine.place
