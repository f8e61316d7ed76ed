"""Claim five hundred jobs, finish them, and again: what SQL alone allows.

python -m bench.peers.bare_worker PROCESSES
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from uuid import uuid4

import psycopg

from bench.peer import Places

# Left to itself, the planner of a table that was just filled walks over all of it.
_PINNED = "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_hashjoin=off"
# The ids come and go as one text: nothing here costs Python by the job.
_CLAIM = """
WITH candidate AS MATERIALIZED (
    SELECT id FROM bare_job
    WHERE claimable AND queue_name = 'default' AND priority = 0 AND run_at <= now()
    ORDER BY queue_name, priority DESC, run_at, id
    LIMIT 500
    FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE bare_job SET state = 'running', claimable = false, claim = %s
    WHERE id = ANY (ARRAY (SELECT id FROM candidate))
    RETURNING id
)
SELECT array_agg(id)::text FROM claimed
"""
_FINISH = """
UPDATE bare_job SET state = 'succeeded', result = 'null', finished_at = now()
WHERE id = ANY (%s::uuid[]) AND claim = %s AND state = 'running'
"""


def run() -> None:
    url = Places.from_environment().database.url
    with psycopg.connect(url, autocommit=True, options=_PINNED) as connection:
        while True:
            claim = uuid4()
            row = connection.execute(_CLAIM, [claim], prepare=True).fetchone()
            if row is None or row[0] is None:
                time.sleep(0.01)
            else:
                connection.execute(_FINISH, [row[0], claim], prepare=True)


if __name__ == "__main__":
    # Daemons end with the program, which by itself a signal would end without them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    processes = [multiprocessing.Process(target=run, daemon=True) for _ in range(int(sys.argv[1]))]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
