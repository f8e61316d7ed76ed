-- Fold statistics, some at a time (the planner's joins of CTEs are loops here): the rows of all
-- runners of a minute into one, minutes into ten minutes, and these into hours. Whatever another
-- worker is folding just now is its own; a row that is there already is added to.
-- Minutes are folded into one of all queues and tasks, too, of no queue and no task: what charts of
-- days read, which would else add up as many rows as there are tasks.
WITH folded AS (
    DELETE FROM jobs_statistic
    WHERE id = ANY (ARRAY (
        SELECT id
        FROM jobs_statistic
        WHERE seconds = %(of)s
          AND (runner IS NOT NULL) = %(of_runners)s
          AND starts_at < statement_timestamp() - %(older_than)s * interval '1 second'
        ORDER BY seconds, starts_at
        LIMIT 1000
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING
        date_bin(%(into)s * interval '1 second', starts_at, 'epoch') AS starts_at, queue_name, task,
        succeeded, failed, retried, cancelled, snoozed, lost, waits, runs, ready, oldest
), old AS (
    SELECT * FROM folded
    UNION ALL
    SELECT
        starts_at, '', '', succeeded, failed, retried, cancelled, snoozed, lost, waits, runs,
        NULL, NULL
    FROM folded
    WHERE task <> '' AND %(of)s = 60 AND %(into)s > 60
), counted AS (
    SELECT
        starts_at, queue_name, task, sum(succeeded)::integer AS succeeded,
        sum(failed)::integer AS failed, sum(retried)::integer AS retried,
        sum(cancelled)::integer AS cancelled, sum(snoozed)::integer AS snoozed,
        sum(lost)::integer AS lost, max(ready) AS ready, max(oldest) AS oldest
    FROM old
    GROUP BY starts_at, queue_name, task
), waited AS (
    SELECT starts_at, queue_name, task, array_agg(count ORDER BY place) AS counts
    FROM (
        SELECT starts_at, queue_name, task, place, sum(count)::integer AS count
        FROM old, unnest(waits) WITH ORDINALITY AS bucket (count, place)
        GROUP BY starts_at, queue_name, task, place
    ) AS summed
    GROUP BY starts_at, queue_name, task
), ran AS (
    SELECT starts_at, queue_name, task, array_agg(count ORDER BY place) AS counts
    FROM (
        SELECT starts_at, queue_name, task, place, sum(count)::integer AS count
        FROM old, unnest(runs) WITH ORDINALITY AS bucket (count, place)
        GROUP BY starts_at, queue_name, task, place
    ) AS summed
    GROUP BY starts_at, queue_name, task
)
INSERT INTO jobs_statistic AS there (
    starts_at, seconds, queue_name, task, runner, succeeded, failed, retried, cancelled, snoozed,
    lost, ready, oldest, waits, runs
)
SELECT
    starts_at, %(into)s, queue_name, task, NULL, succeeded, failed, retried, cancelled, snoozed,
    lost, ready, oldest, coalesce(waited.counts, '{}'), coalesce(ran.counts, '{}')
FROM counted
LEFT JOIN waited USING (starts_at, queue_name, task)
LEFT JOIN ran USING (starts_at, queue_name, task)
ON CONFLICT (seconds, starts_at, queue_name, task, runner) DO UPDATE
SET succeeded = there.succeeded + excluded.succeeded,
    failed = there.failed + excluded.failed,
    retried = there.retried + excluded.retried,
    cancelled = there.cancelled + excluded.cancelled,
    snoozed = there.snoozed + excluded.snoozed,
    lost = there.lost + excluded.lost,
    ready = greatest(there.ready, excluded.ready),
    oldest = greatest(there.oldest, excluded.oldest),
    waits = ARRAY (
        SELECT coalesce(mine, 0) + coalesce(other, 0)
        FROM unnest(there.waits, excluded.waits) WITH ORDINALITY AS both_ (mine, other, place)
        ORDER BY place
    ),
    runs = ARRAY (
        SELECT coalesce(mine, 0) + coalesce(other, 0)
        FROM unnest(there.runs, excluded.runs) WITH ORDINALITY AS both_ (mine, other, place)
        ORDER BY place
    )
RETURNING id
