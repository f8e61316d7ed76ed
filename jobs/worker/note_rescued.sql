-- How many jobs of a dead worker were given back, or have failed by its death.
UPDATE jobs_dead_worker SET rescued = rescued + %(count)s WHERE id = %(id)s::uuid
