-- What a running job notes of itself, for its next attempt; fenced by the attempt.
UPDATE jobs_job
SET metadata = coalesce(metadata, '{}') || %(noted)s::jsonb
WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'running'
