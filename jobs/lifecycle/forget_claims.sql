-- Every job of these claims is recorded: nothing is left to rescue by them.
DELETE FROM jobs_claim WHERE id = ANY (%(claims)s::uuid[])
