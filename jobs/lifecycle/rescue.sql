-- Give back what a claim still holds: running → queued, or → failed once a job has lost its
-- process too often. Only attempts that had started are charged with the loss (`started` is
-- NULL where nobody can tell: then all), and what must run at most once never runs again once
-- it had started, charged or not. A row that somebody has locked is left for the next
-- time: a stopped process may hold one for ever. What is given back keeps its place in the
-- queue: behind the runners' marks, where their looks find it; put at the end, a job that is
-- prefetched and given back again and again would never start under load. LATERAL and ctid as
-- in succeed.sql.
WITH held AS MATERIALIZED (
    SELECT
        job.place,
        job.id,
        job.attempt,
        job.worker,
        job.last_attempted_at,
        charge.lost,
        CASE
            WHEN charge.lost AND job.losses >= job.max_losses THEN 'failed'
            WHEN charge.started AND job.max_losses = 0 THEN 'failed'
            WHEN job.cancel_requested_at IS NOT NULL THEN 'cancelled'
            ELSE 'queued'
        END AS state
    FROM (
        SELECT claim.id AS claim, member.id
        FROM jobs_claim AS claim
        CROSS JOIN LATERAL unnest(claim.ids) AS member (id)
        WHERE claim.id = %(claim)s::uuid
        ORDER BY member.id
    ) AS member
    CROSS JOIN LATERAL (
        SELECT
            ctid AS place, id, attempt, worker, last_attempted_at, losses, max_losses,
            cancel_requested_at
        FROM jobs_job
        WHERE id = member.id AND claim = member.claim AND state = 'running'
          AND (%(only)s::uuid[] IS NULL OR id = ANY (%(only)s::uuid[]))
          AND NOT (
            %(keep_started)s AND coalesce(id = ANY (%(started)s::uuid[]), true)
          )
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS job
    CROSS JOIN LATERAL (
        SELECT known.started, %(charged)s AND known.started AS lost
        FROM (SELECT coalesce(job.id = ANY (%(started)s::uuid[]), true) AS started) AS known
    ) AS charge
), rescued AS (
    UPDATE jobs_job AS job
    SET state = held.state,
        claimable = held.state = 'queued',
        -- So that whoever held it reads back that it is not its own any more.
        claim = NULL,
        losses = least(job.losses + held.lost::int, job.max_losses + 1),
        finished_at = CASE WHEN held.state <> 'queued' THEN statement_timestamp() END,
        failed_at = CASE WHEN held.state = 'failed' THEN statement_timestamp() END,
        cancelled_at = CASE WHEN held.state = 'cancelled' THEN statement_timestamp() END,
        reason = CASE held.state WHEN 'failed' THEN 'lost' WHEN 'cancelled' THEN 'cancelled' END
    FROM held
    WHERE job.ctid = held.place
    RETURNING job.id, job.task, job.state, job.queue_name
), bell AS (
    -- As in insert.sql: who sleeps is told that there is work.
    SELECT count(pg_notify('jobs', given_back.queue_name)) AS rings
    FROM (SELECT DISTINCT queue_name FROM rescued WHERE state = 'queued') AS given_back
    WHERE %(notify)s AND EXISTS (
        SELECT FROM jobs_worker
        WHERE idle <> '{}'
          AND (queues IS NULL OR given_back.queue_name = ANY (queues))
          AND given_back.queue_name <> ALL (excluded_queues)
    )
), kept AS (
    INSERT INTO jobs_attempt (
        job_id, attempt, outcome, reason, worker, started_at, finished_at,
        exception_class_path, message, traceback, fingerprint
    )
    SELECT
        held.id, held.attempt, 'lost', 'lost', held.worker, held.last_attempted_at,
        statement_timestamp(), %(exception)s, %(note)s, '', %(kind)s
    FROM held
    -- Of what was written only: a row that somebody changed since this statement's snapshot
    -- was locked, and its new place is not found; it is for the next time.
    JOIN rescued ON rescued.id = held.id
    WHERE held.lost OR held.state = 'failed'
)
SELECT rescued.id, rescued.task, rescued.queue_name, rescued.state, held.lost, (SELECT rings FROM bell)
FROM rescued
JOIN held ON held.id = rescued.id
