-- Say what is wrong with a schedule, and try it again later.
UPDATE jobs_schedule
SET problem = %(problem)s,
    next_run_at = statement_timestamp() + %(later)s,
    stale_since = NULL
WHERE id = %(id)s AND xmin = %(version)s::xid
