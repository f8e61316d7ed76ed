-- The jobs that a claim has brought.
SELECT unnest(ids) FROM jobs_claim WHERE id = %(claim)s::uuid
