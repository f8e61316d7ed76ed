-- A claim goes once nothing runs under it any more.
DELETE FROM jobs_claim AS claim
WHERE claim.id = %(claim)s::uuid
  AND NOT EXISTS (
    SELECT
    FROM unnest(claim.ids) AS member (id)
    JOIN jobs_job AS job ON job.id = member.id
    WHERE job.claim = claim.id AND job.state = 'running'
  )
