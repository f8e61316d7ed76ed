-- What nobody looks at any more.
DELETE FROM jobs_statistic
WHERE seconds = 3600 AND starts_at < statement_timestamp() - %(older_than)s * interval '1 second'
