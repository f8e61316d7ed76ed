-- What time it is, and what is quickly read: workers; what their runners hold; queues that are
-- paused; paused tasks; the first schedules that no beat serves, or has planned; of each task the
-- last of the newest errors. And of the server what makes jobs slow, as far as the site's role may
-- see it (what it may not is NULL).
SELECT
    statement_timestamp(),
    (
        SELECT coalesce(jsonb_agg(to_jsonb(worker) ORDER BY worker.name), '[]')
        FROM jobs_worker AS worker
    ),
    (
        -- Those that stand in line there among them: through the claims, which are few.
        SELECT coalesce(jsonb_agg(to_jsonb(held) ORDER BY held.since, held.id), '[]')
        FROM (
            SELECT
                member.worker_id, job.queue_name, job.id, job.task, job.last_attempted_at AS since
            FROM (
                SELECT claim.id AS claim, claim.worker_id, member.id
                FROM jobs_claim AS claim
                CROSS JOIN LATERAL unnest(claim.ids) AS member (id)
                LIMIT %(most)s
            ) AS member
            CROSS JOIN LATERAL (
                SELECT queue_name, id, task, last_attempted_at
                FROM jobs_job
                -- Not what has been given back, and is claimed again, since.
                WHERE id = member.id AND claim = member.claim AND state = 'running'
                OFFSET 0
            ) AS job
        ) AS held
    ),
    (
        -- Workers that died in the last hour, but for those whose name lives again.
        SELECT coalesce(jsonb_agg(to_jsonb(dead) ORDER BY dead.declared_dead_at DESC), '[]')
        FROM jobs_dead_worker AS dead
        WHERE dead.declared_dead_at > statement_timestamp() - interval '1 hour'
          AND NOT EXISTS (SELECT FROM jobs_worker AS living WHERE living.name = dead.name)
    ),
    (
        -- What PostgreSQL has refused of late: how many of each kind, and the newest.
        SELECT coalesce(jsonb_agg(to_jsonb(refused) ORDER BY refused.subject), '[]')
        FROM (
            SELECT
                subject, count(*) AS many, (array_agg(key ORDER BY last_at DESC))[1] AS key,
                (array_agg(message ORDER BY last_at DESC))[1] AS message
            FROM jobs_refusal
            WHERE last_at > statement_timestamp() - interval '1 hour'
            GROUP BY subject
        ) AS refused
    ),
    (SELECT EXISTS (SELECT FROM jobs_schedule WHERE enabled AND retired_at IS NULL)),
    (
        SELECT coalesce(jsonb_agg(to_jsonb(queue)), '[]')
        FROM jobs_queue AS queue
        WHERE queue.paused_at IS NOT NULL
          AND coalesce(queue.paused_until > statement_timestamp(), true)
    ),
    (
        SELECT coalesce(jsonb_agg(to_jsonb(task) ORDER BY task.name), '[]')
        FROM jobs_paused_task AS task
        WHERE coalesce(task.paused_until > statement_timestamp(), true)
    ),
    (
        SELECT coalesce(jsonb_agg(to_jsonb(late) ORDER BY late.next_run_at, late.name), '[]')
        FROM (
            SELECT *
            FROM jobs_schedule
            WHERE enabled
              AND retired_at IS NULL
              AND (
                  next_run_at < statement_timestamp() - interval '1 minute'
                  OR stale_since < statement_timestamp() - interval '1 minute'
              )
            ORDER BY next_run_at, name
            LIMIT 5
        ) AS late
    ),
    (
        SELECT coalesce(jsonb_object_agg(last.task, to_jsonb(last)), '{}')
        FROM (
            SELECT DISTINCT ON (job.task)
                job.task, attempt.job_id, attempt.exception_class_path,
                left(attempt.message, 200) AS message
            FROM (
                SELECT id, job_id, exception_class_path, message
                FROM jobs_attempt
                WHERE exception_class_path <> ''
                ORDER BY id DESC
                LIMIT %(errors)s
            ) AS attempt
            CROSS JOIN LATERAL (
                SELECT task FROM jobs_job WHERE id = attempt.job_id OFFSET 0
            ) AS job
            ORDER BY job.task, attempt.id DESC
        ) AS last
    ),
    (
        -- Failures of the last hour that are silenced, by task; of each kind as many as are told.
        SELECT coalesce(jsonb_object_agg(quiet.task, quiet.count), '{}')
        FROM (
            SELECT silence.task, sum(newest.count) AS count
            FROM jobs_silence AS silence
            CROSS JOIN LATERAL (
                SELECT count(*)
                FROM (
                    SELECT job_id, outcome, finished_at
                    FROM jobs_attempt
                    WHERE fingerprint = silence.fingerprint
                      AND outcome IN ('failed', 'lost', 'retried')
                    ORDER BY id DESC
                    LIMIT %(quiet)s
                ) AS attempt
                CROSS JOIN LATERAL (
                    SELECT task FROM jobs_job WHERE id = attempt.job_id OFFSET 0
                ) AS job
                WHERE attempt.outcome = 'failed'
                  AND attempt.finished_at > statement_timestamp() - interval '1 hour'
                  AND job.task = silence.task
            ) AS newest
            WHERE coalesce(silence.until > statement_timestamp(), true)
            GROUP BY silence.task
        ) AS quiet
    ),
    jsonb_build_object(
        -- Who keeps dead rows from being removed, the oldest first.
        'transactions', (
            SELECT coalesce(jsonb_agg(to_jsonb(one)), '[]')
            FROM (
                SELECT
                    pid, application_name, state, left(query, 200) AS query,
                    extract(epoch FROM statement_timestamp() - xact_start)::float8 AS age,
                    greatest(age(backend_xmin), age(backend_xid)) AS behind
                FROM pg_stat_activity
                -- Of other roles' sessions an ordinary one sees neither kind nor times.
                WHERE coalesce(backend_type, 'client backend') = 'client backend'
                  AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
                  AND pid <> pg_backend_pid()
                  AND datname = current_database()
                ORDER BY xact_start
                LIMIT 3
            ) AS one
        ),
        'prepared', (
            SELECT coalesce(jsonb_agg(to_jsonb(one)), '[]')
            FROM (
                SELECT gid, extract(epoch FROM statement_timestamp() - prepared)::float8 AS age
                FROM pg_prepared_xacts
                WHERE database = current_database()
                ORDER BY prepared
                LIMIT 3
            ) AS one
        ),
        'slots', (
            SELECT coalesce(jsonb_agg(to_jsonb(one)), '[]')
            FROM (
                SELECT slot_name, age(xmin) AS behind
                FROM pg_replication_slots
                WHERE xmin IS NOT NULL AND NOT active
                ORDER BY age(xmin) DESC
                LIMIT 3
            ) AS one
        ),
        'connections', (SELECT sum(numbackends) FROM pg_stat_database),
        'most_connections', (
            current_setting('max_connections')::integer
            - current_setting('superuser_reserved_connections')::integer
        ),
        'tables', (
            SELECT coalesce(jsonb_agg(to_jsonb(one) ORDER BY one.bytes DESC), '[]')
            FROM (
                SELECT
                    relname AS name, n_live_tup AS live, n_dead_tup AS dead,
                    extract(
                        epoch FROM statement_timestamp() - greatest(last_vacuum, last_autovacuum)
                    )::float8 AS vacuumed,
                    pg_total_relation_size(relid) AS bytes
                FROM pg_stat_user_tables
                WHERE relid IN (
                    'jobs_job'::regclass, 'jobs_attempt'::regclass, 'jobs_log'::regclass,
                    'jobs_claim'::regclass, 'jobs_statistic'::regclass
                )
            ) AS one
        )
    )
