-- Insert what follows jobs that this transaction has ended (see follow.py), each with the id of
-- the job that it follows as its argument. Bell as in insert.sql.
WITH follower AS (
    INSERT INTO jobs_job (
        task, queue_name, priority, arguments, metadata, enqueued_at, run_at, expires_at,
        timeout, max_attempts, max_losses
    )
    SELECT
        call.task, call.queue_name, call.priority,
        jsonb_build_object(
            'args', jsonb_build_array(
                jsonb_build_object('$jobs', jsonb_build_array('uuid', ended.id))
            ),
            'kwargs', '{}'::jsonb
        ),
        -- Which job it follows, for who looks at it.
        coalesce(call.metadata, '{}') || jsonb_build_object('follows', ended.id),
        statement_timestamp(), due.at, due.at + call.expires_after,
        call.timeout, call.max_attempts, call.max_losses
    FROM unnest(%(ids)s::uuid[], %(tasks)s::text[], %(states)s::text[])
        AS ended (id, task, state)
    JOIN jsonb_to_recordset(%(followers)s::jsonb) AS call (
        after text, state text, task text, queue_name text, priority smallint, metadata jsonb,
        delay interval, expires_after interval, timeout interval, max_attempts smallint,
        max_losses smallint
    ) ON call.after = ended.task AND call.state = ended.state
    CROSS JOIN LATERAL (SELECT statement_timestamp() + call.delay AS at) AS due
    RETURNING queue_name, run_at
)
SELECT count(pg_notify('jobs', due.queue_name))
FROM (SELECT DISTINCT queue_name FROM follower WHERE run_at <= statement_timestamp()) AS due
WHERE %(notify)s AND EXISTS (
    SELECT FROM jobs_worker
    WHERE idle <> '{}'
      AND (queues IS NULL OR due.queue_name = ANY (queues))
      AND due.queue_name <> ALL (excluded_queues)
)
