-- Notify idle workers of a queue in which due jobs may stand again. As in insert.sql.
SELECT count(pg_notify('jobs', %(queue_name)s))
FROM jobs_worker
WHERE idle <> '{}'
  AND (queues IS NULL OR %(queue_name)s = ANY (queues))
  AND %(queue_name)s <> ALL (excluded_queues)
