-- The small tables, whole, and what time it is: workers; queues that are paused; paused tasks; the
-- first schedules that no beat serves, or has planned.
SELECT
    statement_timestamp(),
    (
        SELECT coalesce(jsonb_agg(to_jsonb(worker) ORDER BY worker.name), '[]')
        FROM jobs_worker AS worker
    ),
    (
        SELECT coalesce(jsonb_agg(to_jsonb(queue)), '[]')
        FROM jobs_queue AS queue
        WHERE queue.paused_at IS NOT NULL
          AND coalesce(queue.paused_until > statement_timestamp(), true)
    ),
    (
        SELECT coalesce(jsonb_agg(to_jsonb(task) ORDER BY task.name), '[]')
        FROM jobs_paused_task AS task
        WHERE coalesce(task.paused_until > statement_timestamp(), true)
    ),
    (
        SELECT coalesce(jsonb_agg(to_jsonb(late) ORDER BY late.next_run_at, late.name), '[]')
        FROM (
            SELECT *
            FROM jobs_schedule
            WHERE enabled
              AND retired_at IS NULL
              AND (
                  next_run_at < statement_timestamp() - interval '1 minute'
                  OR stale_since < statement_timestamp() - interval '1 minute'
              )
            ORDER BY next_run_at, name
            LIMIT 5
        ) AS late
    )
