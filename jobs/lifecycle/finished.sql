-- A walk over the key: which jobs have ended, and how long ago (in seconds).
SELECT id, task, extract(epoch FROM statement_timestamp() - finished_at)::float8
FROM jobs_job
WHERE id > %(after)s::uuid AND id < %(before)s::uuid
ORDER BY id
LIMIT %(limit)s
