-- Note what PostgreSQL, or a trigger of the site, refuses; returns whether it is new.
INSERT INTO jobs_refusal AS there (subject, key, message, reported_by)
VALUES (%(subject)s, %(key)s, %(message)s, %(by)s)
ON CONFLICT (subject, key) DO UPDATE
SET message = excluded.message, reported_by = excluded.reported_by,
    last_at = statement_timestamp(), times = least(there.times, 2000000000) + 1
RETURNING times = 1
