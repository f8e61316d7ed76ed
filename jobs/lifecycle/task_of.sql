-- Whose job this is, for what is told, and queued, of its end.
SELECT task, queue_name, attempt FROM jobs_job WHERE id = %(id)s::uuid
