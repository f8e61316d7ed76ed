-- What has become of outcomes that a record did not return: whose claim the row carries, and
-- whether it still runs. A row that is gone does not come back.
SELECT id, claim, state = 'running' FROM jobs_job WHERE id = ANY (%(ids)s::uuid[])
