-- How many jobs are ready in each queue that has or had any of late, and for how long the first has
-- been: once in a minute, by the first worker that comes. (A queue that
-- was used once is not sampled later.) Counts at most 100,000 jobs. The first due job of each queue,
-- of all priorities, comes from a look (`firsts`).
INSERT INTO jobs_statistic (starts_at, seconds, queue_name, task, ready, oldest)
SELECT
    minute.starts_at, 60, queue.name, '', ready.count,
    greatest(0, extract(epoch FROM statement_timestamp()) - coalesce(
        first.run_at, extract(epoch FROM statement_timestamp())
    ))
FROM (SELECT date_trunc('minute', statement_timestamp()) AS starts_at) AS minute
CROSS JOIN (
    SELECT queue_name AS name
    FROM unnest(%(queues)s::text[], %(firsts)s::float8[]) AS due (queue_name, run_at)
    WHERE run_at <= extract(epoch FROM statement_timestamp())
    UNION
    SELECT queue_name
    FROM jobs_statistic
    WHERE seconds = 60
      AND starts_at >= statement_timestamp() - interval '10 minutes'
      AND (task <> '' OR ready > 0)
) AS queue
LEFT JOIN unnest(%(queues)s::text[], %(firsts)s::float8[]) AS first (queue_name, run_at)
    ON first.queue_name = queue.name
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS count
    FROM (
        SELECT
        FROM jobs_job
        WHERE claimable AND queue_name = queue.name AND run_at <= statement_timestamp()
        LIMIT 100000
    ) AS found
) AS ready
WHERE NOT EXISTS (
    SELECT
    FROM jobs_statistic AS there
    WHERE there.seconds = 60 AND there.starts_at = minute.starts_at AND there.task = ''
)
ON CONFLICT DO NOTHING
