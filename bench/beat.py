"""Ten thousand schedules: what a beat costs while nothing is due, and a burst of five thousand.

    python -m bench.beat

A PostgreSQL of its own, one beat. The lines of the burst are all different, so that nothing
that was computed for one serves another.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from . import servers

_SCHEDULES, _BURST = 10_000, 5_000
# For so long a beat with nothing to do is watched, in seconds.
_IDLE = 60.0


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with servers.postgres("beat") as database:
        os.environ |= database.environment
        measure()


def measure() -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from jobs.models import Job, Schedule

    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE jobs_job, jobs_log, jobs_attempt, jobs_schedule")
    draw = random.Random(7)  # noqa: S311
    # Far from now, so that nothing is due while the beat is watched.
    away = (_now().month + 5) % 12 + 1
    lines = [
        f"{draw.randrange(60)} {draw.randrange(24)} {draw.randint(1, 28)} {away} *"
        for _ in range(_SCHEDULES)
    ]
    _make(Schedule, lines)
    beat = subprocess.Popen(
        [sys.executable, "manage.py", "runbeat", "--settings", "bench.settings", "-v", "0"]
    )
    try:
        began = time.monotonic()
        _until(lambda: not Schedule.objects.filter(next_run_at=None).exists())
        print(f"{_SCHEDULES:,} schedules were planned within {time.monotonic() - began:.1f} s")
        # Its start is over once it has nothing more to say.
        time.sleep(3.0)
        before, server = _cpu(beat.pid), _cpu(_backend())
        time.sleep(_IDLE)
        own = (_cpu(beat.pid) - before) / _IDLE
        servers_ = (_cpu(_backend()) - server) / _IDLE
        print(f"idle: {own:.3%} of a core, and {servers_:.3%} in the server, over {_IDLE:g} s")
        moment = _burst(Schedule, draw)
        _until(lambda: Job.objects.count() >= _BURST)
        took = (_now() - moment).total_seconds()
        print(f"{_BURST:,} due at one second were enqueued within {took:.2f} s")
        last = Job.objects.order_by("-enqueued_at").values_list("enqueued_at", flat=True)[0]
        print(f"(the last of them after {(last - moment).total_seconds():.2f} s)")
    finally:
        beat.terminate()
        beat.wait(20)


def _make(model: Any, lines: list[str]) -> None:
    model.objects.bulk_create(
        [
            model(name=f"{i}", task="bench.work.noop", kind="cron", line=line, timezone="UTC")
            for i, line in enumerate(lines)
        ],
        batch_size=2_000,
    )


def _burst(model: Any, draw: random.Random) -> datetime:
    """Let half of them be due at the same full minute, each by a line of its own."""
    moment = (_now() + timedelta(seconds=20)).replace(second=0, microsecond=0)
    moment += timedelta(minutes=1)
    rows = list(model.objects.order_by("id")[:_BURST])
    for row in rows:
        others = ",".join(str(one) for one in sorted(draw.sample(range(24), 5)))
        row.line = f"{moment.minute},{draw.randrange(60)} {moment.hour},{others} * * *"
    model.objects.bulk_update(rows, ["line"], batch_size=1_000)
    _until(lambda: not model.objects.filter(next_run_at=None).exists())
    due = model.objects.filter(next_run_at=moment).count()
    left = (moment - _now()).total_seconds()
    print(f"{due:,} are due in {left:.0f} s")
    return moment


def _until(condition: Any) -> None:
    while not condition():
        time.sleep(0.02)


def _now() -> datetime:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _backend() -> int:
    """The server's process that serves the beat."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'jobs beat'")
        return int(cursor.fetchone()[0])


def _cpu(pid: int) -> float:
    """Seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
