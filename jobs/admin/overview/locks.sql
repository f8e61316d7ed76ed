-- Who holds, or waits for, a lock on a table of jobs that keeps others waiting: read by itself, since
-- these tables themselves may be what cannot be read.
SELECT
    waiting.pid,
    left(waiting.query, 100),
    extract(epoch FROM statement_timestamp() - waiting.query_start)::float8,
    holding.pid,
    coalesce(nullif(holding.application_name, ''), '–'),
    coalesce(holding.state, '–'),
    extract(epoch FROM statement_timestamp() - holding.xact_start)::float8
FROM pg_locks AS wanted
JOIN pg_class AS relation ON relation.oid = wanted.relation
JOIN pg_stat_activity AS waiting ON waiting.pid = wanted.pid
CROSS JOIN LATERAL unnest(pg_blocking_pids(wanted.pid)) AS blocker (pid)
JOIN pg_stat_activity AS holding ON holding.pid = blocker.pid
WHERE NOT wanted.granted
  AND relation.relname LIKE 'jobs\_%%'
  AND wanted.mode IN ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock')
  AND wanted.pid <> pg_backend_pid()
UNION ALL
-- One that has what it wants, and whose transaction goes on.
SELECT
    NULL, NULL, NULL, holding.pid, coalesce(nullif(holding.application_name, ''), '–'),
    coalesce(holding.state, '–'),
    extract(epoch FROM statement_timestamp() - holding.xact_start)::float8
FROM pg_locks AS held
JOIN pg_class AS relation ON relation.oid = held.relation
JOIN pg_stat_activity AS holding ON holding.pid = held.pid
WHERE held.granted
  AND held.mode IN ('AccessExclusiveLock', 'ExclusiveLock')
  AND relation.relname LIKE 'jobs\_%%'
  AND held.pid <> pg_backend_pid()
LIMIT 10
