-- In how many seconds there is something to do; NULL: nothing at all.
SELECT extract(epoch FROM least(
    (SELECT min(next_run_at) FROM jobs_schedule WHERE next_run_at IS NOT NULL),
    (
        SELECT min(stale_since)
        FROM jobs_schedule
        WHERE stale_since IS NOT NULL AND next_run_at IS NULL
    )
) - statement_timestamp())::float8
