-- When a supervisor has first seen that a pause is over. Not when that was written: whoever resumed
-- it may have committed much later.
UPDATE jobs_paused_task
SET over_seen_at = statement_timestamp()
WHERE over_seen_at IS NULL AND paused_until <= statement_timestamp()
