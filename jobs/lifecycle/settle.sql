-- running → queued, failed or cancelled, for a batch of attempts that did not simply succeed, and
-- → succeeded for those that something follows; fenced, locked and planned as in succeed.sql. What
-- would run again although somebody asked for its cancellation is cancelled instead. Each keeps its
-- attempt, but for the merely given back and what succeeded. What is to follow (see follow.py) is
-- queued by the same statement, so if the job has ended, and only then.
WITH mine AS MATERIALIZED (
    SELECT
        job.place,
        job.id,
        job.attempt,
        job.worker,
        CASE
            WHEN ended.state = 'queued' AND job.cancel_requested_at IS NOT NULL THEN 'cancelled'
            ELSE ended.state
        END AS state,
        CASE
            WHEN ended.state = 'queued' AND job.cancel_requested_at IS NOT NULL THEN 'cancelled'
            ELSE ended.reason
        END AS reason,
        ended.outcome,
        ended.reason AS attempt_reason,
        ended.delay,
        ended.failed,
        -- Never started: its times are no attempt's.
        nullif(ended.started_at, 0) AS started_at,
        coalesce(
            to_timestamp(nullif(ended.finished_at, 0)), statement_timestamp()
        ) AS finished_at,
        ended.exception_class_path,
        ended.message,
        ended.traceback,
        ended.kind,
        ended.result
    FROM (
        SELECT *
        FROM unnest(
            %(ids)s::uuid[], %(claims)s::uuid[], %(states)s::text[], %(reasons)s::text[],
            %(outcomes)s::text[], %(delays)s::float8[], %(failed)s::int[], %(started)s::float8[],
            %(finished)s::float8[], %(exceptions)s::text[], %(messages)s::text[],
            %(tracebacks)s::text[], %(kinds)s::text[], %(results)s::jsonb[]
        ) AS given (
            id, claim, state, reason, outcome, delay, failed, started_at, finished_at,
            exception_class_path, message, traceback, kind, result
        )
        ORDER BY id
    ) AS ended
    CROSS JOIN LATERAL (
        SELECT ctid AS place, id, attempt, worker, cancel_requested_at
        FROM jobs_job
        WHERE id = ended.id AND claim = ended.claim AND state = 'running'
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS job
), settled AS (
    UPDATE jobs_job AS job
    SET state = mine.state,
        claimable = mine.state = 'queued',
        run_at = CASE
            -- What never started keeps its place, as in rescue.sql.
            WHEN mine.state = 'queued' AND (mine.outcome <> '' OR mine.delay > 0) THEN greatest(
                job.run_at, statement_timestamp() + mine.delay * interval '1 second'
            )
            ELSE job.run_at
        END,
        -- Never beyond its bound: SQL may have lowered that while the job ran.
        failures = least(
            job.failures + mine.failed, greatest(coalesce(job.max_attempts, 32000), job.failures)
        ),
        result = mine.result,
        last_attempted_at = coalesce(to_timestamp(mine.started_at), job.last_attempted_at),
        finished_at = CASE WHEN mine.state <> 'queued' THEN mine.finished_at END,
        failed_at = CASE WHEN mine.state = 'failed' THEN mine.finished_at END,
        cancelled_at = CASE WHEN mine.state = 'cancelled' THEN mine.finished_at END,
        reason = CASE WHEN mine.state <> 'queued' THEN nullif(mine.reason, '') END
    FROM mine
    WHERE job.ctid = mine.place
    RETURNING job.id, job.task, job.state, job.queue_name
), follower AS (
    -- As in follow.sql.
    INSERT INTO jobs_job (
        task, queue_name, priority, arguments, metadata, enqueued_at, run_at, expires_at,
        timeout, max_attempts, max_losses
    )
    SELECT
        call.task, call.queue_name, call.priority,
        jsonb_build_object(
            'args', jsonb_build_array(
                jsonb_build_object('$jobs', jsonb_build_array('uuid', settled.id))
            ),
            'kwargs', '{}'::jsonb
        ),
        -- Which job it follows, for who looks at it.
        coalesce(call.metadata, '{}') || jsonb_build_object('follows', settled.id),
        statement_timestamp(), due.at, due.at + call.expires_after,
        call.timeout, call.max_attempts, call.max_losses
    FROM settled
    JOIN jsonb_to_recordset(%(followers)s::jsonb) AS call (
        after text, state text, task text, queue_name text, priority smallint, metadata jsonb,
        delay interval, expires_after interval, timeout interval, max_attempts smallint,
        max_losses smallint
    ) ON call.after = settled.task AND call.state = settled.state
    CROSS JOIN LATERAL (SELECT statement_timestamp() + call.delay AS at) AS due
    RETURNING queue_name, run_at
), bell AS (
    -- What follows, or is merely given back, can start now: as in insert.sql, for who sleeps.
    SELECT count(pg_notify('jobs', due.queue_name)) AS rings
    FROM (
        SELECT settled.queue_name
        FROM settled
        JOIN mine ON mine.id = settled.id
        WHERE mine.state = 'queued' AND mine.outcome = '' AND mine.delay = 0
        UNION
        SELECT queue_name FROM follower WHERE run_at <= statement_timestamp()
    ) AS due
    WHERE %(notify)s AND EXISTS (
        SELECT FROM jobs_worker
        WHERE idle <> '{}'
          AND (queues IS NULL OR due.queue_name = ANY (queues))
          AND due.queue_name <> ALL (excluded_queues)
    )
), kept AS (
    INSERT INTO jobs_attempt (
        job_id, attempt, outcome, reason, worker, started_at, finished_at,
        exception_class_path, message, traceback, fingerprint
    )
    SELECT
        mine.id, mine.attempt, mine.outcome, mine.attempt_reason, mine.worker,
        to_timestamp(mine.started_at), mine.finished_at, mine.exception_class_path,
        mine.message, mine.traceback, mine.kind
    FROM mine
    -- As in rescue.sql: of what was written only.
    JOIN settled ON settled.id = mine.id
    WHERE mine.outcome <> ''
)
SELECT id, (SELECT rings FROM bell) FROM settled
