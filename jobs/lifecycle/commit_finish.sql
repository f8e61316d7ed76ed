-- running → succeeded inside of the task's own transaction, as its last statement. Unlike a
-- batch it waits for a row that somebody holds: there is nothing to do meanwhile, and to give
-- up would undo the work.
UPDATE jobs_job
SET state = 'succeeded',
    result = %(result)s::jsonb,
    last_attempted_at = to_timestamp(%(started)s),
    finished_at = to_timestamp(%(finished)s)
WHERE id = %(id)s::uuid AND claim = %(claim)s::uuid AND state = 'running'
RETURNING id
