-- running → as ended, of one job, without an attempt, texts and followers: the last resort where one of
-- those is refused; fenced as any record. With `failed` 0 and no result, nothing but the state.
UPDATE jobs_job
SET state = ended.state,
    claimable = ended.state = 'queued',
    run_at = CASE
        WHEN ended.state = 'queued' THEN greatest(
            run_at, statement_timestamp() + %(delay)s * interval '1 second'
        )
        ELSE run_at
    END,
    finished_at = CASE WHEN ended.state <> 'queued' THEN statement_timestamp() END,
    failed_at = CASE WHEN ended.state = 'failed' THEN statement_timestamp() END,
    cancelled_at = CASE WHEN ended.state = 'cancelled' THEN statement_timestamp() END,
    reason = CASE WHEN ended.state IN ('failed', 'cancelled') THEN %(reason)s END,
    failures = least(failures + %(failed)s, greatest(coalesce(max_attempts, 32000), failures)),
    result = coalesce(%(result)s::jsonb, result)
FROM (
    SELECT id AS job, CASE
        WHEN %(state)s = 'queued' AND cancel_requested_at IS NOT NULL THEN 'cancelled'
        ELSE %(state)s
    END AS state
    FROM jobs_job
    WHERE id = %(id)s::uuid AND claim = %(claim)s::uuid AND state = 'running'
    FOR NO KEY UPDATE SKIP LOCKED
) AS ended
WHERE id = ended.job
RETURNING id
