-- What charts are drawn of: all statistics since a moment, whatever they span. Moments as seconds
-- since the epoch, which are read faster.
SELECT
    extract(epoch FROM starts_at)::bigint, queue_name, task, ready,
    ARRAY[succeeded, failed, retried, cancelled, snoozed, lost], waits, runs
FROM jobs_statistic
-- All there are: the index begins with it.
WHERE seconds IN (60, 600, 3600) AND starts_at >= %(since)s
