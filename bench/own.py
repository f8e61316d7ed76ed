"""What is measured of this project alone: what must not get slower, and by how much it does."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from typing import Any

from .measures import Failed, _stopped, _wait, _worker
from .peer import PYTHON, Lot, Peer
from .processes import pss

# So often with wake-up and so often without.
_TURNS = 5

_PRODUCE = """
import sys, time, django
django.setup()
from bench import tasks
from jobs import enqueue
enqueue(tasks.noop)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[1])):
    enqueue(tasks.noop)
print("done", flush=True)
"""


_INSERT = """
INSERT INTO jobs_job (id, task, queue_name, priority, arguments, max_losses)
VALUES (%s, %s, 'default', 0, %s::jsonb, 3) RETURNING run_at, expires_at, enqueued_at
"""


def inserts(peer: Peer, count: int) -> dict[str, float]:
    """Enqueue beside a bare, prepared INSERT of the same row into the same table, in turns."""
    import psycopg

    from jobs import ids

    taken: dict[str, list[float]] = {"bare": [], "enqueue": []}
    with psycopg.connect(peer.places.database.url, autocommit=True) as connection:

        def insert() -> None:
            row = [ids.uuid7(), "bench.work.noop", '{"args":[],"kwargs":{}}']
            connection.execute(_INSERT, row, prepare=True).fetchone()

        for _ in range(7):
            peer.clear()
            for name, one in (("bare", insert), ("enqueue", lambda: peer.enqueue_one("noop"))):
                for _ in range(20):
                    one()
                began = time.perf_counter()
                for _ in range(count):
                    one()
                taken[name].append((time.perf_counter() - began) / count * 1e6)
    peer.clear()
    bare, enqueue = (statistics.median(taken[name]) for name in ("bare", "enqueue"))
    return {"bare_us": bare, "enqueue_us": enqueue, "share": bare / enqueue}


def producers(peer: Peer, count: int, each: int) -> dict[str, float]:
    """Many producers at once beside an idle worker, with wake-up and without, in turns."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    for listen in (True, False) * _TURNS:
        os.environ["BENCH_LISTEN"] = "1" if listen else "0"
        peer.clear()
        with _worker(peer, Lot(2)):
            crowd = [
                subprocess.Popen(  # noqa: S603
                    [PYTHON, "-c", _PRODUCE, str(each)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
                for _ in range(count)
            ]
            for one in crowd:
                _hear(one)
            _wait(peer.is_done, "run the first jobs")
            time.sleep(0.5)
            began = time.monotonic()
            for one in crowd:
                _say_go(one)
            for one in crowd:
                _hear(one)
            taken[listen].append(count * each / (time.monotonic() - began))
            for one in crowd:
                one.communicate()
            _wait(peer.is_done, "run its jobs")
    os.environ["BENCH_LISTEN"] = "1"
    notified, silent = (statistics.median(taken[listen]) for listen in (True, False))
    return {"per_s": notified, "silent_per_s": silent, "ratio": notified / silent}


def _hear(one: subprocess.Popen[bytes]) -> None:
    assert one.stdout is not None
    one.stdout.readline()


def _say_go(one: subprocess.Popen[bytes]) -> None:
    assert one.stdin is not None
    one.stdin.write(b"\n")
    one.stdin.flush()


def claims(peer: Peer, jobs: int, rows: int) -> dict[str, float]:
    """What a claim costs beside so many finished rows, and as many waiting in another lane."""
    from django.db import connection

    peer.clear()
    empty = _claim_cost(peer, jobs)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO jobs_job (task, state, claimable, finished_at, last_attempted_at) "
            "SELECT 'bench.work.noop', 'succeeded', false, now(), now() "
            "FROM generate_series(1, %s)",
            [rows],
        )
        cursor.execute(
            "INSERT INTO jobs_job (task, priority, run_at) "
            "SELECT 'bench.work.noop', 10, now() + interval '1 day' FROM generate_series(1, %s)",
            [rows],
        )
        cursor.execute("VACUUM ANALYZE jobs_job")
    full = _claim_cost(peer, jobs)
    peer.clear()
    return {"empty_us": empty, "full_us": full, "ratio": full / empty}


def _claim_cost(peer: Peer, jobs: int) -> float:
    """Microseconds per job, the best of five; each claims all of them, 500 at a time."""
    from jobs import ids, lifecycle
    from jobs.lifecycle import START, Lane
    from jobs.worker import Options, presence

    lane, worker_id, runner = Lane("default", 0), ids.uuid7(), ids.uuid7()
    connection = lifecycle.connect("bench")
    presence.register(connection, worker_id, Options(name="bench"), [])
    best = float("inf")
    for _ in range(5):
        peer.enqueue_many("noop", jobs)
        spent, mark, left = 0.0, START, jobs
        while left:
            began = time.perf_counter()
            brought = lifecycle.claim(
                connection, {lane: mark}, 500, claim_id=ids.uuid7(), worker="bench",
                worker_id=worker_id, runner=runner,
            ).read()  # fmt: skip
            spent += time.perf_counter() - began
            mark, left = brought.reached[lane], left - len(brought.jobs)
        best = min(best, spent / jobs * 1e6)
        connection.execute("DELETE FROM jobs_job WHERE state = 'running'")
        connection.execute("DELETE FROM jobs_claim")
        # As autovacuum would have done by and by.
        connection.execute("VACUUM jobs_job")
    presence.leave(connection, worker_id)
    connection.close()
    return best


def snapshot(peer: Peer, jobs: int, batches: int) -> dict[str, Any]:
    """The pace of one batch after the other, alone and under a transaction that stays open."""
    import psycopg

    paces: dict[str, list[float]] = {}
    for name in ("free", "held"):
        peer.clear()
        with psycopg.connect(peer.places.database.url) as reader, _worker(peer, Lot(2)) as worker:
            if name == "held":
                reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                reader.execute("SELECT count(*) FROM jobs_worker")
            paces[name] = [_batch(peer, worker, jobs) for _ in range(batches)]
    free, held = (sum(paces[name]) / batches for name in ("free", "held"))
    return paces | {"ratio": free / held, "last_ratio": paces["held"][0] / paces["held"][-1]}


def _batch(peer: Peer, worker: subprocess.Popen[bytes], jobs: int) -> float:
    with _stopped(worker.pid):
        peer.enqueue_many("noop", jobs)
        began = time.monotonic()
    _wait(peer.is_done, "run its jobs")
    return jobs / (time.monotonic() - began)


def million(peer: Peer, jobs: int, batches: int) -> dict[str, Any]:
    """Memory of the worker while it runs so many jobs, after each batch."""
    peer.clear()
    with _worker(peer, Lot(2)) as worker:
        idle = pss(worker.pid)
        megabytes = []
        for _ in range(batches):
            _batch(peer, worker, jobs // batches)
            megabytes.append(pss(worker.pid))
        recorded = peer.recorded()
    expected = jobs // batches * batches
    if recorded is None or recorded < expected:
        raise Failed(f"{recorded} of {expected} jobs are recorded")
    return {"idle_mb": idle, "mb": megabytes}


def idle(peer: Peer, seconds: float) -> dict[str, float]:
    """Queries a second of each runner of a worker that has nothing to do, by the server's log."""
    import psycopg

    peer.clear()
    with psycopg.connect(peer.places.database.url, autocommit=True) as connection:
        with _worker(peer, Lot(2)):
            time.sleep(8.0)
            _configure(connection, log_statement="all", log_line_prefix="<%a> ")
            began = len(_log(connection))
            time.sleep(seconds)
            _configure(connection, log_statement="none")
        # Two runners, and their supervisor's heartbeats.
        queries = len(re.findall("^<jobs [^>]*> LOG:", _log(connection)[began:], re.MULTILINE))
    return {"per_runner_per_s": queries / seconds / 2}


def _configure(connection: Any, **settings: str) -> None:
    for name, value in settings.items():
        connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    connection.execute("SELECT pg_reload_conf()")
    # It reaches the others by and by.
    time.sleep(0.5)


def _log(connection: Any) -> str:
    path = "current_setting('data_directory') || '/../log'"
    return str(connection.execute(f"SELECT pg_read_file({path})").fetchone()[0])
