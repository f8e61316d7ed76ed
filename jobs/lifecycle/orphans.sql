-- Claims of runners that this worker does not know to live, and claims of workers that are
-- not there any more. States are compared, events are not trusted: a claim may commit on the
-- server after its client has died.
SELECT claim.id, claim.runner, claim.worker_id, worker.id IS NULL
FROM jobs_claim AS claim
LEFT JOIN jobs_worker AS worker ON worker.id = claim.worker_id
WHERE worker.id IS NULL
   OR (claim.worker_id = %(worker_id)s::uuid AND claim.runner <> ALL (%(runners)s::uuid[]))
