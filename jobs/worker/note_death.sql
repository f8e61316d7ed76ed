-- For people: a worker that died is shown for a while.
INSERT INTO jobs_dead_worker (id, name, host, pid, started_at, heartbeat_at)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO NOTHING
