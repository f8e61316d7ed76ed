-- Notify idle workers of due jobs that stand in their queues again; one notification for each queue.
-- The same condition as in insert.sql: no notification is sent while no runner sleeps.
SELECT count(pg_notify('jobs', due.queue_name))
FROM (
    SELECT DISTINCT queue_name
    FROM jobs_job
    WHERE id = ANY (%(ids)s::uuid[])
      AND claimable
      AND run_at < statement_timestamp() + %(horizon)s * interval '1 second'
) AS due
WHERE EXISTS (
    SELECT FROM jobs_worker
    WHERE idle <> '{}'
      AND (queues IS NULL OR due.queue_name = ANY (queues))
      AND due.queue_name <> ALL (excluded_queues)
)
