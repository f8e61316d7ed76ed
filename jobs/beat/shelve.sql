-- Say what is wrong with a schedule, keep the tick that could not be fired (or from when on it
-- has to be planned), and try it again later. Whoever holds the row is not waited for: it is tried again anyway.
UPDATE jobs_schedule
SET problem = %(problem)s,
    missed_tick = CASE WHEN problem = '' THEN next_run_at ELSE missed_tick END,
    next_run_at = statement_timestamp() + %(later)s
WHERE id = ANY (ARRAY (
    SELECT id
    FROM jobs_schedule
    WHERE id = %(id)s AND xmin = %(version)s::xid
    FOR NO KEY UPDATE SKIP LOCKED
))
