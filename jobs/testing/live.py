"""A worker beside the test, in threads of its process: for tests of what is committed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import connections

from jobs import conf, ids, lifecycle
from jobs.errors import JobsError
from jobs.worker import Options, presence
from jobs.worker.bell import Bell, Call
from jobs.worker.board import Board
from jobs.worker.options import Identity
from jobs.worker.runner import Runner

# In seconds: a job that still runs when the test is over.
_PATIENCE = 30.0


@contextmanager
def live_worker(
    *, threads: int = 2, coroutines: int = 10, queues: Sequence[str] | None = None
) -> Iterator[None]:
    """While it lasts, a worker runs what is committed, in threads of this process: it sees what
    the test has patched and overridden. Ends once running jobs have.

    Only for tests without a transaction around them: `TransactionTestCase`, or
    `django_db(transaction=True)`. Nobody stands beside it to kill what does not end.
    """
    alias = conf.settings().database
    if connections[alias].in_atomic_block:
        raise JobsError(
            "a live worker sees only what is committed, and this test's transaction never is: use "
            "TransactionTestCase, django_db(transaction=True), or run_jobs()"
        )
    options = Options(
        name="tests",
        processes=2,
        # One alone would run in the main thread, which is the test's.
        threads=max(2, threads),
        coroutines=coroutines,
        queues=None if queues is None else tuple(queues),
    )
    with lifecycle.connect("jobs tests") as control:
        identity = Identity(ids.uuid7(), "tests/1")
        presence.register(control, identity.worker_id, options, [identity.runner])
        bell = Bell()
        runner = Runner(options, identity, Board(), bell)
        serving = [
            threading.Thread(target=target, name=f"jobs {name}", daemon=True)
            for name, target in (
                ("slots", runner.slots.serve),
                ("dispatcher", runner.dispatcher.run),
            )
        ]
        for thread in serving:
            thread.start()
        try:
            yield
        finally:
            bell.ring(Call.STOP)
            serving[1].join(_PATIENCE)
            runner.close()
            serving[0].join(_PATIENCE)
            presence.leave(control, identity.worker_id)
            bell.close()
            if any(thread.is_alive() for thread in serving):
                raise JobsError(f"a job still runs {_PATIENCE:g} s after the end of its test")
