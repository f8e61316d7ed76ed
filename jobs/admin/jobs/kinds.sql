-- Failures by their kind: of the newest attempts that went wrong, so many. By the hour, for a
-- picture; and how many of the jobs have failed with it for good and have not been retried, and how
-- many are to be retried by themselves.
WITH newest AS MATERIALIZED (
    SELECT id, job_id, attempt, fingerprint, exception_class_path, finished_at
    FROM jobs_attempt AS attempt
    WHERE outcome IN ('failed', 'lost', 'retried')
      AND (%(kind)s::text IS NULL OR fingerprint = %(kind)s)
      -- Tasks may have a kind in common: of one of them, so many of its own.
      AND (
          %(kind)s::text IS NULL
          OR EXISTS (SELECT FROM jobs_job WHERE id = attempt.job_id AND task = %(task)s)
      )
    ORDER BY id DESC
    LIMIT %(most)s
)
SELECT
    job.task,
    newest.fingerprint,
    newest.exception_class_path,
    least(
        floor(extract(epoch FROM statement_timestamp() - newest.finished_at) / 3600), %(hours)s
    )::integer,
    count(*),
    count(*) FILTER (WHERE job.state = 'failed' AND job.attempt = newest.attempt),
    count(*) FILTER (WHERE job.state = 'queued' AND job.attempt = newest.attempt),
    min(newest.finished_at),
    max(newest.finished_at),
    max(newest.id),
    (array_agg(newest.job_id ORDER BY newest.id DESC))[1]
FROM newest
JOIN jobs_job AS job ON job.id = newest.job_id
WHERE %(task)s::text IS NULL OR job.task = %(task)s
GROUP BY 1, 2, 3, 4
