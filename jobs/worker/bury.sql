-- Workers that have been silent for too long. Their claims are orphans from now on.
DELETE FROM jobs_worker
WHERE heartbeat_at < statement_timestamp() - %(timeout)s::interval
RETURNING name
