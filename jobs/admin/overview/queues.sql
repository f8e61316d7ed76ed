-- Of each queue: how many jobs are ready, and for how long the first of them has been; how many are
-- scheduled, and how many wait; and how many have come in of late, of the last minute's newest, with
-- for how many seconds these reach back. By the indexes of the claim and of what waits, and the key,
-- so far and no further.
WITH RECURSIVE used AS (
    -- The queues of jobs that wait for a worker: one probe of the claim's index for each.
    (
        SELECT queue_name
        FROM jobs_job
        WHERE claimable
        ORDER BY queue_name, priority DESC, run_at, id
        LIMIT 1
    )
    UNION ALL
    SELECT following.queue_name
    FROM used
    CROSS JOIN LATERAL (
        SELECT queue_name
        FROM jobs_job
        WHERE claimable AND queue_name > used.queue_name
        ORDER BY queue_name, priority DESC, run_at, id
        LIMIT 1
    ) AS following
), queue AS (
    -- Those that workers have seen, and those that no worker has seen yet.
    SELECT name FROM jobs_queue
    UNION
    SELECT queue_name FROM used
), came AS MATERIALIZED (
    SELECT queue_name, enqueued_at
    FROM jobs_job
    WHERE id >= %(since)s::uuid
    ORDER BY id DESC
    LIMIT %(most)s
)
SELECT
    queue.name,
    ready.count,
    extract(epoch FROM statement_timestamp() - ready.first)::float8,
    later.count,
    waiting.count,
    (SELECT count(*) FROM came WHERE queue_name = queue.name),
    (SELECT count(*) FROM came),
    (SELECT extract(epoch FROM statement_timestamp() - min(enqueued_at))::float8 FROM came)
FROM queue
CROSS JOIN LATERAL (
    SELECT count(*), min(run_at) AS first
    FROM (
        SELECT run_at
        FROM jobs_job
        WHERE claimable AND queue_name = queue.name AND run_at <= statement_timestamp()
        LIMIT %(most)s
    ) AS found
) AS ready
CROSS JOIN LATERAL (
    SELECT count(*)
    FROM (
        SELECT
        FROM jobs_job
        WHERE claimable AND queue_name = queue.name AND run_at > statement_timestamp()
        LIMIT %(most)s
    ) AS found
) AS later
CROSS JOIN LATERAL (
    SELECT count(*)
    FROM (
        SELECT
        FROM jobs_job
        WHERE waiting_since IS NOT NULL AND queue_name = queue.name
        LIMIT %(most)s
    ) AS found
) AS waiting
ORDER BY queue.name
