-- Delete notes for people that are a day old: deaths, and refusals that did not occur again.
WITH refusal AS (
    DELETE FROM jobs_refusal WHERE last_at < statement_timestamp() - interval '1 day'
)
DELETE FROM jobs_dead_worker WHERE declared_dead_at < statement_timestamp() - interval '1 day'
