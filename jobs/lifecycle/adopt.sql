-- Running jobs whose claim has no row (TRUNCATE jobs_claim, a restored backup): no rescue would
-- find them. The claim gets a row again, of a worker that there is not, and is rescued as any orphan's.
-- A claim is in the same statement as its row, and its row goes only after its jobs are recorded or
-- given back, so no snapshot shows a running job without one. If the job has moved on meanwhile, the
-- row is an empty claim, which the rescue deletes.
WITH part AS MATERIALIZED (
    SELECT id, claim, state, worker, last_attempted_at
    FROM jobs_job
    WHERE id > %(after)s::uuid
    ORDER BY id
    LIMIT %(limit)s
), found AS (
    SELECT part.claim, array_agg(part.id) AS ids
    FROM part
    WHERE part.state = 'running'
      AND NOT EXISTS (
          SELECT
          FROM jobs_claim
          WHERE jobs_claim.id = part.claim
            -- An adopted one may hold those of its jobs only that the part before had.
            AND (jobs_claim.worker_id <> %(no_worker)s::uuid OR part.id = ANY (jobs_claim.ids))
      )
      -- A worker that lives still runs it, and records it without that row.
      AND NOT EXISTS (
          SELECT
          FROM jobs_worker AS living
          WHERE living.name = regexp_replace(part.worker, '/[0-9]+$', '')
            AND living.started_at <= part.last_attempted_at
      )
    GROUP BY part.claim
), adopted AS (
    INSERT INTO jobs_claim (id, worker_id, runner, ids)
    SELECT claim, %(no_worker)s::uuid, %(no_worker)s::uuid, ids
    FROM found
    ON CONFLICT (id) DO UPDATE SET ids = jobs_claim.ids || excluded.ids
    WHERE jobs_claim.worker_id = %(no_worker)s::uuid
    RETURNING id
)
SELECT
    (SELECT id FROM part ORDER BY id DESC LIMIT 1),
    (
        SELECT coalesce(sum(cardinality(found.ids)), 0)::integer
        FROM found
        JOIN adopted ON adopted.id = found.claim
    )
