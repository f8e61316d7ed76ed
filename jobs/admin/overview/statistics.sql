-- What charts are drawn of, since a moment; moments as seconds since the epoch, which are read
-- faster. Minutes all; of what was folded into longer spans what all queues and tasks come to (see
-- fold.sql), samples, and what was asked for.
SELECT
    extract(epoch FROM starts_at)::bigint, queue_name, task, ready,
    ARRAY[succeeded, failed, retried, cancelled, snoozed, lost], waits, runs
FROM jobs_statistic
WHERE seconds IN (60, 600, 3600)
  AND starts_at >= %(since)s
  AND (seconds = 60 OR task = '' OR queue_name = %(queue_name)s OR task = %(task)s)
