"""How much Python a job costs: fails when a change eats more than its share.

    python -m bench.budget

A runner in this process runs no-op jobs off a real PostgreSQL, results recorded. Two things are
counted of all its threads:

- calls of functions per job: the same on each machine, so the limit is a tight one;
- CPU time per job, in units of a bare loop (read the call, call the function) that is timed
  before and after: what else a machine does slows them unequally, so the best of some rounds
  counts, and the limit has room.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from . import servers

# Measured: see docs/benchmarks.md. Busy machines have shown 8 bare loops where quiet ones show 6.
CALLS, LOOPS = 62.0, 12.0
_JOBS, _ROUNDS, _BARE = 20_000, 5, 100_000


def main() -> int:
    with servers.postgres("budget") as database:
        os.environ |= database.environment
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        calls = _calls()
        ratio, job, loop = min(_round() for _ in range(_ROUNDS))
    within = calls <= CALLS and ratio <= LOOPS
    print(
        f"Python's part of a job: {calls:.1f} calls of functions, {job * 1e6:.1f} us or "
        f"{ratio:.1f} bare loops of {loop * 1e6:.2f} us; {'within' if within else 'over'} "
        f"the budget of {CALLS:g} calls and {LOOPS:g} bare loops"
    )
    return 0 if within else 1


def _round() -> tuple[float, float, float]:
    """Bare loops per job; seconds for a job, and for a bare loop."""
    before = _bare_loop()
    job = _run(time.process_time)
    loop = (before + _bare_loop()) / 2
    return job / loop, job, loop


def _calls() -> float:
    """Calls of functions for one job, C's included, by the interpreter's own tracing."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        return _run(lambda: count)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]  # typeshed's: None ends it


def _bare_loop() -> float:
    """Seconds for reading a call and calling the function."""
    text = '{"args": [1], "kwargs": {"b": 2}}'
    began = time.thread_time()
    for _ in range(_BARE):
        call = json.loads(text)
        _nothing(*call["args"], **call["kwargs"])
    return (time.thread_time() - began) / _BARE


def _nothing(a: int, b: int) -> None:
    pass


def _run(meter: Callable[[], float]) -> float:
    """What the meter says that one no-op job takes, from claim to record."""
    from django.db import connection

    from jobs import enqueue_many, ids, lifecycle
    from jobs.worker import Options, presence
    from jobs.worker.bell import Bell
    from jobs.worker.board import Board
    from jobs.worker.options import Identity
    from jobs.worker.runner import Runner

    from .tasks import noop

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE jobs_job, jobs_log, jobs_attempt, jobs_claim, jobs_worker")
    enqueue_many(noop, [()] * _JOBS)
    # Two processes, as by default on two cores: of which this is one.
    options = Options(name="budget", processes=2, burst=True)
    identity = Identity(ids.uuid7(), "budget/1")
    with lifecycle.connect("jobs budget") as control:
        presence.register(control, identity.worker_id, options, [identity.runner])
        runner = Runner(options, identity, Board(), Bell())
        began = meter()
        runner.run()
        spent = meter() - began
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM jobs_job WHERE state = 'succeeded'")
        assert cursor.fetchone() == (_JOBS,)
    return spent / _JOBS


if __name__ == "__main__":
    sys.exit(main())
