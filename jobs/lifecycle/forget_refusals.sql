-- What was refused is accepted now.
DELETE FROM jobs_refusal WHERE subject = %(subject)s AND key = ANY (%(keys)s)
