-- Pauses that are over, once nothing that they have put off is left: by their rows those jobs are
-- known. What they had put off until their own end has come back by itself.
DELETE FROM jobs_paused_task AS pause
WHERE pause.paused_until <= statement_timestamp()
  AND (
      pause.parked_until <= statement_timestamp()
      OR NOT EXISTS (
          SELECT
          FROM jobs_job
          WHERE claimable AND task = pause.name AND run_at = pause.parked_until
      )
  )
