-- Queues that hold no job and have had none for a day, unless they are paused: a queue for each tenant
-- or each upload must not stay for ever.
DELETE FROM jobs_queue AS queue
WHERE queue.paused_at IS NULL
  AND queue.name <> ALL (ARRAY (
      SELECT DISTINCT queue_name
      FROM jobs_statistic
      WHERE starts_at >= statement_timestamp() - interval '1 day'
  ))
  AND NOT EXISTS (SELECT FROM jobs_job WHERE claimable AND queue_name = queue.name)
  AND NOT EXISTS (
      SELECT FROM jobs_job WHERE waiting_since IS NOT NULL AND queue_name = queue.name
  )
