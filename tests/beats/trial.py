"""The trial itself, on Django's own database: minutes by `make beats`, seconds in the tests."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from jobs.models import Job, Schedule

BEATS, SCHEDULES = 3, 50
# Of the schedules, in seconds; between two events; and how long a beat is stopped.
_INTERVALS, _PAUSE, _NAP = (1, 5), (0.5, 3.0), (0.1, 4.0)
# Whoever is started last is to be up before it is told to stop.
_LAST = 3.0
# The newest ticks may still be under way when it is counted.
_MARGIN = timedelta(seconds=3)

Start = Callable[[], "subprocess.Popen[Any]"]


@dataclass
class Trial:
    """`start` starts a beat."""

    start: Start
    seconds: float
    seed: int
    task: str
    # Whether the server keeps when transactions have committed.
    knows_commits: bool = False
    beats: list[subprocess.Popen[Any]] = field(default_factory=list)
    killed: int = 0
    stopped: int = 0

    def run(self) -> dict[str, Any]:
        """The figures; "wrong" lists each tick that was lost or came twice."""
        draw = random.Random(self.seed)
        self._make_schedules(draw)
        began = self._now()
        self.beats = [self.start() for _ in range(BEATS)]
        # Process → when it goes on.
        asleep: dict[int, float] = {}
        deadline, event_at = time.monotonic() + self.seconds, time.monotonic() + 2.0
        try:
            while (now := time.monotonic()) < deadline:
                for pid in [pid for pid, until in asleep.items() if until <= now]:
                    del asleep[pid]
                    os.kill(pid, signal.SIGCONT)
                if event_at <= now < deadline - _LAST:
                    event_at = now + draw.uniform(*_PAUSE)
                    self._event(draw, asleep, now)
                time.sleep(0.02)
        finally:
            for pid in asleep:
                os.kill(pid, signal.SIGCONT)
            ended = self._now()
            for beat in self.beats:
                beat.terminate()
            codes = [beat.wait(20) for beat in self.beats]
        return self._count(began, ended, codes)

    def _make_schedules(self, draw: random.Random) -> None:
        Schedule.objects.bulk_create(
            Schedule(
                name=f"trial {number}",
                task=self.task,
                kind="interval",
                interval=timedelta(seconds=draw.randint(*_INTERVALS)),
                anchor=datetime(2026, 1, 1, tzinfo=UTC),
                # So that a tick that was merged with a later one counts as lost.
                catch_up="all",
            )
            for number in range(SCHEDULES)
        )

    def _event(self, draw: random.Random, asleep: dict[int, float], now: float) -> None:
        """Kill a beat and start another, or stop one for a while; one is always awake."""
        where, kills, how_long = draw.randrange(BEATS), draw.random() < 0.4, draw.uniform(*_NAP)
        beat = self.beats[where]
        if beat.pid in asleep or len(asleep) == BEATS - 1:
            return
        if kills:
            beat.kill()
            beat.wait()
            self.beats[where] = self.start()
            self.killed += 1
        else:
            os.kill(beat.pid, signal.SIGSTOP)
            asleep[beat.pid] = now + how_long
            self.stopped += 1

    def _now(self) -> datetime:
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            now: datetime = cursor.fetchone()[0]
        return now

    def _count(self, began: datetime, ended: datetime, codes: list[int]) -> dict[str, Any]:
        ticks: dict[int, list[datetime]] = defaultdict(list)
        for schedule_id, tick in Job.objects.values_list("schedule_id", "tick"):
            ticks[schedule_id].append(tick)
        wrong = [f"beats ended with {codes}"] if any(codes) else []
        for row in Schedule.objects.all():
            found = ticks[row.pk]
            wrong += [f"{row}: {tick} came twice" for tick in set(found) if found.count(tick) > 1]
            assert row.interval is not None
            expected = min(found, default=began)
            # Planned when it was made, so its first tick is at most one interval later.
            if expected - began > row.interval + _MARGIN:
                wrong.append(f"{row}: its first tick is {expected}")
            while expected <= ended - _MARGIN:
                if expected not in found:
                    wrong.append(f"{row}: {expected} is lost")
                expected += row.interval
        lags = sorted(self._lags())
        return {
            "ticks": len(lags),
            "killed": self.killed,
            "stopped": self.stopped,
            "lag_p50_ms": round(lags[len(lags) // 2]) if lags else None,
            "lag_p99_ms": round(lags[int(len(lags) * 0.99)]) if lags else None,
            "lag_most_ms": round(lags[-1]) if lags else None,
            "wrong": wrong,
        }

    def _lags(self) -> list[float]:
        """From each tick to its job's commit, where the server tells; else to its insertion."""
        at = "pg_xact_commit_timestamp(xmin)" if self.knows_commits else "enqueued_at"
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT extract(epoch FROM {at} - tick)::float8 * 1000 FROM jobs_job")
            return [row[0] for row in cursor.fetchall()]
