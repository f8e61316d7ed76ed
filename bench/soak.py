"""Full pace for an hour: does autovacuum keep up, and does memory stay flat?

    python -m bench.soak --minutes 60

One producer keeps a backlog, a worker with its defaults runs no-op jobs, and what is older
than some seconds is pruned, as the documentation says. Each minute one line is told, and all of
them are kept in .bench/soak.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from . import servers
from .processes import files, pss

# Jobs in a batch, and how many batches may wait.
_BATCH, _AHEAD = 5_000, 6
# Seconds for which finished jobs are kept.
_KEPT = 30.0
_FIGURES = """
SELECT
    (SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'jobs_job'),
    n_dead_tup, n_tup_ins, n_tup_upd, n_tup_hot_upd, autovacuum_count,
    pg_relation_size('jobs_job') / 1e6, pg_relation_size('jobs_job_claim') / 1e6,
    pg_relation_size('jobs_job_pkey') / 1e6,
    (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'jobs %')
FROM pg_stat_user_tables WHERE relname = 'jobs_job'
"""
_COLUMNS = (
    "live", "dead", "inserted", "updated", "hot", "vacuums", "table_mb", "claim_index_mb",
    "key_mb", "connections",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with servers.postgres("soak") as database:
        os.environ |= database.environment
        soak(options.minutes)


def soak(minutes: float) -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE jobs_job, jobs_log, jobs_attempt, jobs_claim")
        cursor.execute("SELECT pg_stat_reset()")
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "runworker", "--settings", "bench.settings", "-v", "0"]
    )
    began = time.monotonic()
    samples: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        stack.callback(worker.wait, 60)
        stack.callback(worker.terminate)
        stack.enter_context(Feed())
        while time.monotonic() - began < minutes * 60:
            time.sleep(min(60.0, max(1.0, minutes * 60 / 4)))
            samples.append(_sample(began, worker.pid, samples))
            Path(".bench/soak.json").write_text(json.dumps(samples, indent=1))


@dataclass(frozen=True)
class Batch:
    """A range of the key: ids are ordered by time."""

    first: UUID
    last: UUID
    enqueued_at: float


class Feed:
    """Keeps a few batches ahead of the worker, and deletes what is old."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._waiting: deque[Batch] = deque()
        self._kept: deque[Batch] = deque()
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._produce, self._prune)
        ]

    def __enter__(self) -> Feed:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _produce(self) -> None:
        from jobs import enqueue_many

        from .tasks import noop

        while not self._ended.is_set():
            if len(self._waiting) < _AHEAD:
                ids = enqueue_many(noop, [()] * _BATCH)
                self._waiting.append(Batch(ids[0], ids[-1], time.monotonic()))
            elif self._is_done(self._waiting[0]):
                self._kept.append(self._waiting.popleft())
            else:
                self._ended.wait(0.01)

    def _is_done(self, batch: Batch) -> bool:
        from jobs.models import Job

        return Job.objects.get(pk=batch.last).is_finished

    def _prune(self) -> None:
        from django.db import connection

        while not self._ended.is_set():
            if self._kept and time.monotonic() - self._kept[0].enqueued_at > _KEPT:
                old = self._kept.popleft()
                with connection.cursor() as cursor:
                    cursor.execute(
                        "DELETE FROM jobs_job "
                        "WHERE id BETWEEN %s AND %s AND finished_at IS NOT NULL",
                        [old.first, old.last],
                    )
            else:
                self._ended.wait(0.1)


def _sample(began: float, worker: int, before: list[dict[str, Any]]) -> dict[str, Any]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(_FIGURES, None)
        figures = dict(zip(_COLUMNS, map(float, cursor.fetchone()), strict=True))
    last = before[-1] if before else dict.fromkeys((*_COLUMNS, "seconds"), 0.0)
    own = {"seconds": time.monotonic() - began, "worker_mb": pss(worker), "files": files(worker)}
    sample = figures | own
    # Each job is updated twice: claimed and finished.
    jobs = (figures["updated"] - last["updated"]) / 2
    sample["jobs_per_s"] = jobs / (sample["seconds"] - last["seconds"])
    sample["hot_finishes"] = (figures["hot"] - last["hot"]) / jobs if jobs else 0.0
    print(
        f"{sample['seconds'] / 60:5.1f} min {sample['jobs_per_s']:7,.0f} jobs/s, "
        f"{sample['hot_finishes']:.0%} HOT, claim index {figures['claim_index_mb']:.0f} MB, "
        f"table {figures['table_mb']:,.0f} MB, dead {figures['dead']:,.0f}, "
        f"{figures['vacuums']:.0f} vacuums, worker {sample['worker_mb']:.0f} MB, "
        f"{sample['files']} files, {figures['connections']:.0f} connections",
        flush=True,
    )
    return sample


if __name__ == "__main__":
    main()
