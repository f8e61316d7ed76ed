-- Cancel: waiting or queued → cancelled at once; of a running job, its runner is told. A row that
-- somebody is just writing is waited for and judged as it is then, so that a claim comes either
-- before (the job runs, and its runner is told) or not at all.
UPDATE jobs_job
SET state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END,
    claimable = false,
    waiting_since = NULL,
    finished_at = CASE WHEN state = 'running' THEN NULL ELSE statement_timestamp() END,
    cancelled_at = CASE WHEN state = 'running' THEN NULL ELSE statement_timestamp() END,
    reason = CASE WHEN state = 'running' THEN reason ELSE 'cancelled' END,
    cancel_requested_at = CASE
        WHEN state = 'running' THEN statement_timestamp() ELSE cancel_requested_at
    END,
    cancelled_by = %(by)s,
    cancelled_because = %(because)s
WHERE id = ANY (%(ids)s::uuid[])
  AND state IN ('waiting', 'queued', 'running')
RETURNING id::text, task, state
