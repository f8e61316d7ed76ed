-- The other workers' rows, each with its version, which every heartbeat changes, and whether somebody
-- holds it: then its worker cannot write it either.
WITH free AS (
    SELECT id FROM jobs_worker WHERE id <> %(id)s::uuid FOR SHARE SKIP LOCKED
)
SELECT worker.id, worker.xmin::text, worker.id NOT IN (SELECT id FROM free)
FROM jobs_worker AS worker
WHERE worker.id <> %(id)s::uuid
