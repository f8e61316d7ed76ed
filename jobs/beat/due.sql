-- What is due, and what has to be planned: at most so many, without a lock. Of schedules whose
-- runs may not overlap, also which of their last jobs still live.
SELECT
    {columns},
    schedule.xmin::text AS version,
    statement_timestamp() AS now,
    CASE WHEN schedule.overlap <> 'allow' THEN ARRAY (
        SELECT job.id
        FROM (
            SELECT id, state
            FROM jobs_job
            WHERE schedule_id = schedule.id
            ORDER BY id DESC
            LIMIT 1000
        ) AS job
        WHERE job.state IN ('waiting', 'queued', 'running')
        ORDER BY job.id
    ) ELSE '{{}}' END::text[] AS living
FROM jobs_schedule AS schedule
WHERE schedule.id = ANY (ARRAY (
    (
        SELECT id
        FROM jobs_schedule
        -- One that could not be planned is tried again later.
        WHERE stale_since IS NOT NULL
          AND (next_run_at IS NULL OR next_run_at <= statement_timestamp())
        ORDER BY stale_since
        LIMIT %(limit)s
        OFFSET %(offset)s
    )
    UNION ALL
    (
        SELECT id
        FROM jobs_schedule
        WHERE next_run_at IS NOT NULL AND next_run_at <= statement_timestamp()
        ORDER BY next_run_at
        LIMIT %(limit)s
        OFFSET %(offset)s
    )
))
