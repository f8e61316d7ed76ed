-- Which running jobs of these claims somebody wants cancelled: few rows of a partial index.
SELECT id
FROM jobs_job
WHERE cancel_requested_at IS NOT NULL
  AND state = 'running'
  AND claim = ANY (%(claims)s::uuid[])
