-- A walk over the key, from the oldest job on: which have ended, and how long ago. Ids are in the
-- order of enqueuing, so what lies behind the walk's end is too young to have ended long ago.
SELECT id, task, extract(epoch FROM statement_timestamp() - finished_at)::float8
FROM jobs_job
WHERE id > %(after)s::uuid AND id < %(before)s::uuid
ORDER BY id
LIMIT %(limit)s
