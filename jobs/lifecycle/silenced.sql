-- The kinds of failures of which no alarm is to tell.
SELECT task, fingerprint
FROM jobs_silence
WHERE coalesce(until > statement_timestamp(), true)
