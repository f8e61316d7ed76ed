-- What came of the last day's jobs of some schedules, by the hour: one index walk for each
-- schedule, of so many jobs at most. Ids begin with their moment.
SELECT
    schedule.id,
    floor(extract(epoch FROM statement_timestamp() - job.enqueued_at) / 3600)::int AS hours_ago,
    job.state,
    count(*)
FROM unnest(%(ids)s::bigint[]) AS schedule (id)
CROSS JOIN LATERAL (
    SELECT enqueued_at, state
    FROM jobs_job
    WHERE schedule_id = schedule.id AND id >= %(since)s::uuid
    ORDER BY id DESC
    LIMIT %(most)s
) AS job
GROUP BY 1, 2, 3
