-- Claims in this runner's name that it has never heard of: their reply was lost.
SELECT id FROM jobs_claim
WHERE runner = %(runner)s::uuid AND id <> ALL (%(known)s::uuid[])
