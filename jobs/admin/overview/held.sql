-- What runners hold, those that stand in line there among them: through the claims, which are few.
SELECT member.worker_id, job.queue_name, job.id, job.task, job.last_attempted_at
FROM (
    SELECT claim.worker_id, member.id
    FROM jobs_claim AS claim
    CROSS JOIN LATERAL unnest(claim.ids) AS member (id)
    LIMIT %(most)s
) AS member
CROSS JOIN LATERAL (
    SELECT queue_name, id, task, last_attempted_at
    FROM jobs_job
    WHERE id = member.id AND state = 'running'
    OFFSET 0
) AS job
ORDER BY job.last_attempted_at, job.id
