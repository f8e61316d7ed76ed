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
    (SELECT coalesce(sum(cardinality(ids)), 0) FROM jobs_claim),
    (
        SELECT count(*)
        FROM (SELECT FROM jobs_job WHERE failed_at IS NOT NULL LIMIT %(most)s) AS failed
    ),
    (
        SELECT count(*)
        FROM (SELECT FROM jobs_job WHERE cancelled_at IS NOT NULL LIMIT %(most)s) AS cancelled
    )
