-- Fire: for each due schedule, move its tick forward and insert the jobs of its ticks, in one
-- statement: a beat that is stopped while it thinks holds no lock. A row that another beat is
-- serving is skipped, and one that has changed in any way since it was read (its xmin says so)
-- is left for the next look; so a tick fires once, whoever else looks at the same moment.
WITH wanted AS (
    SELECT *
    FROM unnest(
        %(ids)s::bigint[], %(versions)s::xid[], %(ticks)s::timestamptz[],
        %(followings)s::timestamptz[], %(runs)s::integer[], %(last_jobs)s::uuid[],
        %(skips)s::integer[], %(skipped_ticks)s::timestamptz[], %(becauses)s::text[]
    ) AS wanted (
        id, version, tick, following, runs, last_job, skips, skipped_tick, because
    )
), mine AS MATERIALIZED (
    SELECT schedule.id
    FROM jobs_schedule AS schedule
    JOIN wanted ON wanted.id = schedule.id
    WHERE schedule.xmin = wanted.version
    FOR NO KEY UPDATE OF schedule SKIP LOCKED
), moved AS (
    UPDATE jobs_schedule AS schedule
    SET last_tick = coalesce(wanted.tick, schedule.last_tick),
        next_run_at = wanted.following,
        stale_since = NULL,
        runs = schedule.runs + wanted.runs,
        last_job_id = coalesce(wanted.last_job, schedule.last_job_id),
        skips = schedule.skips + wanted.skips,
        skipped_tick = coalesce(wanted.skipped_tick, schedule.skipped_tick),
        skipped_because = coalesce(wanted.because, schedule.skipped_because),
        missed_tick = NULL,
        problem = ''
    FROM wanted
    WHERE wanted.id = schedule.id
      AND schedule.id = ANY (ARRAY (SELECT id FROM mine))
    RETURNING schedule.id
), job AS (
    INSERT INTO jobs_job (
        id, task, queue_name, priority, arguments, metadata, enqueued_at, run_at, expires_at,
        timeout, max_attempts, max_losses, schedule_id, tick
    )
    SELECT
        call.id, call.task, call.queue_name, call.priority, call.arguments, call.metadata,
        statement_timestamp(), due.at, due.at + call.expires_after, call.timeout, call.max_attempts, call.max_losses,
        call.schedule_id, call.tick
    FROM unnest(
        %(job_ids)s::uuid[], %(schedules)s::bigint[], %(job_ticks)s::timestamptz[],
        %(tasks)s::text[], %(queues)s::text[], %(priorities)s::smallint[],
        %(arguments)s::jsonb[], %(metadatas)s::jsonb[], %(delays)s::interval[],
        %(expires)s::interval[], %(timeouts)s::interval[], %(max_attempts)s::smallint[],
        %(max_losses)s::smallint[]
    ) AS call (
        id, schedule_id, tick, task, queue_name, priority, arguments, metadata, delay,
        expires_after, timeout, max_attempts, max_losses
    )
    JOIN moved ON moved.id = call.schedule_id
    CROSS JOIN LATERAL (SELECT statement_timestamp() + call.delay AS at) AS due
    RETURNING queue_name, run_at
)
SELECT
    (SELECT coalesce(array_agg(id), '{}') FROM moved),
    (
        SELECT count(pg_notify('jobs', soon.queue_name))
        FROM (
            SELECT DISTINCT queue_name
            FROM job
            WHERE run_at < statement_timestamp() + %(horizon)s * interval '1 second'
        ) AS soon
        WHERE %(notify)s
          AND EXISTS (
              SELECT FROM jobs_worker AS worker
              WHERE worker.idle <> '{}'
                AND (worker.queues IS NULL OR soon.queue_name = ANY (worker.queues))
                AND soon.queue_name <> ALL (worker.excluded_queues)
          )
    )
