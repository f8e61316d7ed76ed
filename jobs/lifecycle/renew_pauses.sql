-- A pause that was prolonged goes on when what the first one had put off has come back.
UPDATE jobs_paused_task
SET parked_until = coalesce(paused_until, statement_timestamp() + interval '100 years')
    + random() * interval '1 second'
WHERE coalesce(paused_until > statement_timestamp(), true)
  AND parked_until <= statement_timestamp()
