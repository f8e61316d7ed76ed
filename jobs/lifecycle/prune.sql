-- Prune: finished → gone, with its attempts and logs. Whatever has been retried since, or is locked by
-- somebody, stays.
WITH old AS MATERIALIZED (
    SELECT id
    FROM jobs_job
    WHERE id = ANY (%(ids)s::uuid[]) AND state IN ('succeeded', 'failed', 'cancelled')
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), attempt AS (
    DELETE FROM jobs_attempt WHERE job_id = ANY (ARRAY (SELECT id FROM old))
), log AS (
    DELETE FROM jobs_log WHERE job_id = ANY (ARRAY (SELECT id FROM old))
)
DELETE FROM jobs_job WHERE id = ANY (ARRAY (SELECT id FROM old)) RETURNING id
