-- A worker begins: its row stands before its first claim, or the claim would be an orphan's.
INSERT INTO jobs_worker (
    id, name, host, pid, protocol, version, queues, excluded_queues, processes, threads,
    coroutines, runners, idle
) VALUES (
    %(id)s::uuid, %(name)s, %(host)s, %(pid)s, %(protocol)s, %(version)s, %(queues)s::text[],
    %(excluded_queues)s::text[], %(processes)s, %(threads)s, %(coroutines)s, %(runners)s::uuid[],
    '{}'
)
