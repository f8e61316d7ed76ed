-- How many jobs there are in the states that an index, or a small table, tells of: so far and no
-- further.
SELECT
    (
        SELECT count(*)
        FROM (SELECT FROM jobs_job WHERE waiting_since IS NOT NULL LIMIT %(most)s) AS waiting
    ),
    (
        SELECT count(*)
        FROM (SELECT FROM jobs_job WHERE claimable LIMIT %(most)s) AS queued
    ),
    (
        -- A claim's row keeps the ids of jobs that have ended, or were given back, since.
        SELECT count(*)
        FROM (
            SELECT
            FROM jobs_claim AS claim
            CROSS JOIN LATERAL unnest(claim.ids) AS member (id)
            CROSS JOIN LATERAL (
                SELECT
                FROM jobs_job
                WHERE id = member.id AND claim = claim.id AND state = 'running'
                OFFSET 0
            ) AS job
            LIMIT %(most)s
        ) AS running
    ),
    (
        SELECT count(*)
        FROM (SELECT FROM jobs_job WHERE failed_at IS NOT NULL LIMIT %(most)s) AS failed
    ),
    (
        SELECT count(*)
        FROM (SELECT FROM jobs_job WHERE cancelled_at IS NOT NULL LIMIT %(most)s) AS cancelled
    )
