-- The worker lives, and so do these runners. No row: it was taken for dead, and its jobs are
-- somebody else's.
UPDATE jobs_worker
SET heartbeat_at = statement_timestamp(),
    runners = %(runners)s::uuid[],
    idle = ARRAY (SELECT unnest(idle) INTERSECT SELECT unnest(%(runners)s::uuid[])),
    running = %(running)s,
    ended = %(ended)s,
    pace = %(pace)s,
    claim_time = %(claim_time)s,
    memory = %(memory)s,
    stopping = %(stopping)s
WHERE id = %(id)s::uuid
RETURNING EXISTS (SELECT FROM jobs_paused_task)
