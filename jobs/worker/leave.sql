-- A worker ends, with nothing claimed any more.
DELETE FROM jobs_worker WHERE id = %(id)s::uuid
