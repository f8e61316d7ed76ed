-- Pauses that are over, once nothing that they have put off is left: by their rows those jobs are
-- known. Not at once: another supervisor may be putting jobs off with what it saw before, and its
-- statement ends within half a minute. What was put off until the pause's own end has come back by
-- itself.
DELETE FROM jobs_paused_task AS pause
WHERE pause.over_seen_at <= statement_timestamp() - interval '1 minute'
  AND pause.paused_until <= statement_timestamp()
  AND (
      pause.parked_until <= statement_timestamp()
      OR NOT EXISTS (
          SELECT
          FROM jobs_job
          WHERE claimable AND task = pause.name AND run_at = pause.parked_until
      )
  )
