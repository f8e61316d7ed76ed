-- running → succeeded inside of the task's own transaction, as its last statement. A locked
-- row is not waited for here: a transaction that cancels the job may be waiting for a row that the
-- task holds.
WITH mine AS MATERIALIZED (
    SELECT ctid AS place
    FROM jobs_job
    WHERE id = %(id)s::uuid AND claim = %(claim)s::uuid AND state = 'running'
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE jobs_job AS job
SET state = 'succeeded',
    result = %(result)s::jsonb,
    last_attempted_at = to_timestamp(%(started)s),
    finished_at = to_timestamp(%(finished)s)
FROM mine
WHERE job.ctid = mine.place
RETURNING job.id
