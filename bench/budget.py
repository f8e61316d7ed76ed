"""How much Python a job costs: fails when a change eats more than its share.

    python -m bench.budget

A runner in this process runs no-op jobs off a real PostgreSQL, results recorded. Its CPU time
per job, of all its threads, is told in units of a bare loop (read the call, call the function)
that is timed in the same seconds: a ratio does not depend on the machine's pace. The best of
some rounds counts, since whatever else the machine does only ever adds.
"""

from __future__ import annotations

import json
import os
import sys
import time

from . import servers

# Bare loops per job. Measured: see docs/benchmarks.md; the rest is room for noise.
BUDGET = 8.0
_JOBS, _ROUNDS, _LOOPS = 20_000, 5, 200_000


def main() -> int:
    with servers.postgres("budget") as database:
        os.environ |= database.environment
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        loops, jobs = [], []
        for _ in range(_ROUNDS):
            loops.append(_bare_loop())
            jobs.append(_job())
    loop, job = min(loops), min(jobs)
    ratio = job / loop
    verdict = "within" if ratio <= BUDGET else "over"
    print(
        f"Python's part of a job: {job * 1e6:.1f} us, {ratio:.1f} bare loops of "
        f"{loop * 1e6:.2f} us; {verdict} the budget of {BUDGET:g}"
    )
    return 0 if ratio <= BUDGET else 1


def _bare_loop() -> float:
    """Seconds for reading a call and calling the function."""
    text = '{"args": [1], "kwargs": {"b": 2}}'
    began = time.thread_time()
    for _ in range(_LOOPS):
        call = json.loads(text)
        _nothing(*call["args"], **call["kwargs"])
    return (time.thread_time() - began) / _LOOPS


def _nothing(a: int, b: int) -> None:
    pass


def _job() -> float:
    """Seconds of CPU, of all the runner's threads, for one no-op job from claim to record."""
    from django.db import connection

    from jobs import enqueue_many, ids, lifecycle
    from jobs.worker import Options, presence
    from jobs.worker.bell import Bell
    from jobs.worker.board import Board
    from jobs.worker.options import Identity
    from jobs.worker.runner import Runner

    from .tasks import noop

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE jobs_job, jobs_attempt, jobs_claim, jobs_worker")
    enqueue_many(noop, [()] * _JOBS)
    # Two processes, as by default on two cores: of which this is one.
    options = Options(name="budget", processes=2, burst=True)
    identity = Identity(ids.uuid7(), "budget/1")
    with lifecycle.connect("jobs budget") as control:
        presence.register(control, identity.worker_id, options, [identity.runner])
        runner = Runner(options, identity, Board(), Bell())
        began = time.process_time()
        runner.run()
        spent = time.process_time() - began
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM jobs_job WHERE state = 'succeeded'")
        assert cursor.fetchone() == (_JOBS,)
    return spent / _JOBS


if __name__ == "__main__":
    sys.exit(main())
