-- What attempts have logged that is not to be kept: it was written while they ran.
DELETE FROM jobs_log AS log
USING (
    SELECT *
    FROM unnest(%(ids)s::uuid[], %(attempts)s::int[]) AS given (id, attempt)
) AS over
WHERE log.job_id = over.id AND log.attempt = over.attempt
