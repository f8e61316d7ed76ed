-- What attempts have logged so far; fenced by the claim, and never waiting for a row: of whoever is
-- just writing one, or of a zombie, nothing is kept. LATERAL as in succeed.sql.
INSERT INTO jobs_log (job_id, attempt, lines, text)
SELECT job.id, job.attempt, told.lines, told.text
FROM (
    SELECT *
    FROM unnest(
        %(ids)s::uuid[], %(claims)s::uuid[], %(lines)s::int[], %(texts)s::text[]
    ) AS given (id, claim, lines, text)
    ORDER BY id
) AS told
CROSS JOIN LATERAL (
    SELECT id, attempt
    FROM jobs_job
    WHERE id = told.id AND claim = told.claim
    FOR KEY SHARE SKIP LOCKED
) AS job
ON CONFLICT (job_id, attempt) DO UPDATE
SET lines = excluded.lines, text = excluded.text, written_at = statement_timestamp()
