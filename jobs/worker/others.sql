-- The other workers' heartbeats, and whether the row is locked: then its worker cannot write it
-- either. A heartbeat is compared for being the same, never with a clock; the row's version would not
-- do, which runners change as well (say_idle.sql).
WITH free AS (
    SELECT id FROM jobs_worker WHERE id <> %(id)s::uuid FOR SHARE SKIP LOCKED
)
SELECT
    worker.id,
    extract(epoch FROM worker.heartbeat_at)::text,
    worker.id NOT IN (SELECT id FROM free)
FROM jobs_worker AS worker
WHERE worker.id <> %(id)s::uuid
