-- One runner falls asleep, or has woken up; producers notify only while somebody sleeps.
UPDATE jobs_worker
SET idle = CASE
    WHEN %(idle)s THEN array_append(array_remove(idle, %(runner)s::uuid), %(runner)s::uuid)
    ELSE array_remove(idle, %(runner)s::uuid)
END
WHERE id = %(id)s::uuid
