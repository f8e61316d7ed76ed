-- Workers whose heartbeat has stood still for too long, unless it has moved on since it was seen, or the row
-- is locked. Their claims are orphans from now on.
WITH silent AS (
    SELECT worker.id
    FROM jobs_worker AS worker
    JOIN unnest(%(ids)s::uuid[], %(versions)s::text[]) AS seen (id, version) ON seen.id = worker.id
    WHERE extract(epoch FROM worker.heartbeat_at)::text = seen.version
    FOR UPDATE OF worker SKIP LOCKED
)
DELETE FROM jobs_worker
WHERE id = ANY (ARRAY (SELECT id FROM silent))
RETURNING id, name, host, pid, started_at, heartbeat_at
