-- How many jobs are ready in each queue, and for how long the first has been: once in a minute,
-- whoever comes first. Counted so far and no further: nobody tells a hundred thousand from more.
INSERT INTO jobs_statistic (starts_at, seconds, queue_name, task, ready, oldest)
SELECT minute.starts_at, 60, queue.name, '', first.ready, coalesce(first.oldest, 0)
FROM (SELECT date_trunc('minute', statement_timestamp()) AS starts_at) AS minute
CROSS JOIN jobs_queue AS queue
CROSS JOIN LATERAL (
    SELECT
        count(*)::integer AS ready,
        extract(epoch FROM statement_timestamp() - min(run_at))::float8 AS oldest
    FROM (
        SELECT run_at
        FROM jobs_job
        WHERE claimable AND queue_name = queue.name AND run_at <= statement_timestamp()
        LIMIT 100000
    ) AS ready
) AS first
WHERE NOT EXISTS (
    SELECT
    FROM jobs_statistic AS there
    WHERE there.seconds = 60 AND there.starts_at = minute.starts_at AND there.task = ''
)
ON CONFLICT DO NOTHING
