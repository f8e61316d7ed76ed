"""Locks, stalls, steps of the clock, half-open connections: no living worker may be declared dead,
no job may run twice at once, and a dead worker has to be found within twice the timeout.

    python -m tests.death [--timeout 6] [--rounds 1] [--only lock,clock] [--seed 7]

A PostgreSQL of its own and three workers for each scenario, with jobs running all the time. Ends
with exit code 1 and a list when a promise was broken.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.chaos.__main__ import children
from tests.own_server import Own

from .proxy import Proxy

LIBFAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
TABLES = ("jobs_job", "jobs_worker", "jobs_claim", "jobs_attempt", "jobs_queue", "jobs_log",
          "jobs_statistic", "jobs_paused_task", "jobs_schedule", "jobs_refusal")  # fmt: skip
_JOBS = """
INSERT INTO jobs_job (task, arguments)
SELECT 'tests.chaos.tasks.plain', jsonb_build_object(
    'args', jsonb_build_array(number, %(seconds)s::float8), 'kwargs', '{}'::jsonb
)
FROM generate_series(%(first)s::int, %(last)s::int) AS number
"""
# More than the others' deaths may take, beyond twice the timeout: of a slow machine, in seconds.
SLACK = 3.0


class Trial:
    """Three workers of two runners, each with a job that lasts longer than the timeout."""

    def __init__(self, own: Own, timeout: float, draw: random.Random) -> None:
        self.own = own
        self.timeout = timeout
        self.draw = draw
        self.numbers = 0
        self.killed: list[str] = []
        self.wrong: list[str] = []
        own.environment |= {"CHAOS_TIMEOUT": str(timeout)}
        self.workers = [
            own.start("--processes", "2", "--name", f"w{i}", "--grace-period", "60")
            for i in range(3)
        ]
        self.wait_for_workers(3)

    def wait_for_workers(self, count: int, within: float = 60.0) -> None:
        deadline = time.monotonic() + within
        while self.count("SELECT count(*) FROM jobs_worker WHERE runners <> '{}'") != count:
            if time.monotonic() > deadline:
                self.wrong.append(f"there are not {count} workers after {within:g} s")
                return
            time.sleep(0.05)

    def count(self, query: str) -> Any:
        with self.own.connect() as connection:
            row = connection.execute(query).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return row[0]

    def enqueue(self, count: int, seconds: float) -> None:
        with self.own.connect() as connection:
            connection.execute(
                _JOBS,
                {"first": self.numbers, "last": self.numbers + count - 1, "seconds": seconds},
            )
        self.numbers += count

    def settle(self, within: float) -> None:
        deadline = time.monotonic() + within
        while (left := self.count("SELECT count(*) FROM jobs_job WHERE finished_at IS NULL")) > 0:
            if time.monotonic() > deadline:
                self.wrong.append(f"{left} jobs have not ended after {within:g} s")
                return
            time.sleep(0.1)

    def judge(self) -> None:
        """Who was declared dead, and which jobs ran twice."""
        with self.own.connect() as connection:
            dead = {row[0] for row in connection.execute("SELECT name FROM jobs_dead_worker")}
            bad = connection.execute(
                "SELECT task, state, losses FROM jobs_job"
                " WHERE state <> 'succeeded' OR losses > %s",
                [1 if self.killed else 0],
            ).fetchall()
        for name in dead - set(self.killed):
            self.wrong.append(f"the living worker {name} was declared dead")
        for name in set(self.killed) - dead:
            self.wrong.append(f"the dead worker {name} was not found")
        self.wrong += [f"a job ended so: {row}" for row in bad]
        lines = (self.own.folder / "log").read_text().splitlines()
        self.wrong += [f"two attempts at once: {line}" for line in lines if " overlap " in line]
        text = (self.own.folder / "log.txt").read_text()
        if "begins anew" in text:
            self.wrong.append("a living worker registered again")

    def find_the_dead(self) -> float:
        """Kill a whole worker; the seconds until another has found it, at most so many."""
        where = self.draw.randrange(len(self.workers))
        worker, name = self.workers[where], f"w{where}"
        self.killed.append(name)
        for pid in (*children(worker.pid), worker.pid):
            os.kill(pid, signal.SIGKILL)
        worker.wait()
        began, longest = time.monotonic(), 2 * self.timeout + SLACK
        found = f"SELECT count(*) FROM jobs_dead_worker WHERE name = '{name}'"
        while not self.count(found):
            if time.monotonic() - began > longest:
                self.wrong.append(f"{name} was not found within {longest:g} s")
                break
            time.sleep(0.05)
        return time.monotonic() - began


# Scenarios. Each does its worst while jobs run, for twice the timeout.


def lock(trial: Trial) -> None:
    """Each table of ours locked, one after the other."""
    for table in trial.draw.sample(TABLES, 3):
        with trial.own.connect() as other, other.transaction():
            other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")  # type: ignore[arg-type]
            time.sleep(2 * trial.timeout)
        time.sleep(1)


def lock_all(trial: Trial) -> None:
    """All tables of ours locked at once."""
    with trial.own.connect() as other, other.transaction():
        other.execute(f"LOCK TABLE {', '.join(TABLES)} IN ACCESS EXCLUSIVE MODE")  # type: ignore[arg-type]
        time.sleep(2.5 * trial.timeout)


def alter(trial: Trial) -> None:
    """A dump reads jobs_worker, and an ALTER TABLE waits behind it."""
    with trial.own.connect() as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM jobs_worker")

        def change() -> None:
            with trial.own.connect() as other:
                other.execute("ALTER TABLE jobs_worker ADD COLUMN IF NOT EXISTS extra int")

        thread = threading.Thread(target=change)
        thread.start()
        time.sleep(2.5 * trial.timeout)
    thread.join()


def row(trial: Trial) -> None:
    """Lock one worker's row."""
    with trial.own.connect() as other, other.transaction():
        other.execute("SELECT FROM jobs_worker WHERE name = 'w1' FOR UPDATE")
        time.sleep(2.5 * trial.timeout)


def stop(trial: Trial) -> None:
    """All of PostgreSQL is stopped, and goes on."""
    pid = int((trial.own.server.data / "postmaster.pid").read_text().split()[0])
    for seconds in (2 * trial.timeout, 0.9 * trial.timeout):
        pids = [pid, *children(pid)]
        for one in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGSTOP)
        time.sleep(seconds)
        for one in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGCONT)
        time.sleep(1)


def clock(trial: Trial) -> None:
    """The clock of the database's machine steps forward and back."""
    file = trial.own.folder / "clock"
    for offset in ("+1h", "-2h", "+0", "+600s", "+40s", "+0"):
        file.write_text(offset)
        time.sleep(max(2.0, 0.5 * trial.timeout))


def idle(trial: Trial) -> None:
    """An administrator's limit for idle sessions, shorter than the timeout."""
    with trial.own.connect() as other:
        other.execute(f"ALTER ROLE postgres SET idle_session_timeout = '{trial.timeout / 2:g}s'")  # type: ignore[arg-type]
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'jobs %'"
        )
    time.sleep(trial.timeout)
    trial.find_the_dead()


def cut(trial: Trial) -> None:
    """Connections are cut more often than the timeout; a dead worker is found all the same."""
    is_over = threading.Event()

    def cutting() -> None:
        while not is_over.wait(trial.timeout / 3):
            with trial.own.connect() as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name LIKE 'jobs worker%'"
                )

    thread = threading.Thread(target=cutting)
    thread.start()
    try:
        time.sleep(trial.timeout)
        trial.find_the_dead()
    finally:
        is_over.set()
        thread.join()


def quiet(trial: Trial) -> None:
    """Nothing happens but a death."""
    trial.find_the_dead()


SCENARIOS: dict[str, Callable[[Trial], None]] = {
    one.__name__: one for one in (lock, lock_all, alter, row, stop, clock, idle, cut, quiet)
}


@contextlib.contextmanager
def server(name: str) -> Iterator[Own]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        preload = {}
        if name == "clock":
            file = Path(folder) / "clock"
            file.write_text("+0")
            file.chmod(0o644)
            preload = {
                "LD_PRELOAD": str(LIBFAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(file),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        own = Own(Path(folder), **preload)
        try:
            yield own
        finally:
            own.close()


def run(name: str, timeout: float, draw: random.Random) -> list[str]:
    """One scenario; what was wrong."""
    with server(name) as own:
        trial = Trial(own, timeout, draw)
        # More than there are slots: some stand in line, and start while it happens.
        trial.enqueue(12, 1.5 * timeout)
        time.sleep(1)
        SCENARIOS[name](trial)
        trial.settle(12 * timeout + 60)
        trial.judge()
        if trial.wrong:
            print((own.folder / "log.txt").read_text()[-5000:])
        return trial.wrong


def half_open(timeout: float, draw: random.Random) -> list[str]:
    """Connections that are frozen at the boundary of a message, of either side."""
    with server("half_open") as own:
        own.environment |= {"CHAOS_TIMEOUT": str(timeout)}
        at = {
            (draw.randrange(1, 12), draw.choice(["client", "server"])): draw.randrange(3, 120)
            for _ in range(6)
        }
        proxy = Proxy(
            own.server.socket_folder / ".s.PGSQL.5432",
            lambda number, side, name: at.get((number, side)),
        )
        through = {"CHAOS_HOST": "127.0.0.1", "CHAOS_PORT": str(proxy.port)}
        try:
            for i in range(2):
                own.start("--processes", "2", "--name", f"w{i}", **through)
            own.start("--processes", "1", "--name", "direct")
            with own.connect() as connection:
                for first in range(0, 400, 20):
                    parameters = {"first": first, "last": first + 19, "seconds": 0.05}
                    connection.execute(_JOBS, parameters)
                    time.sleep(0.25)
                deadline = time.monotonic() + 150
                left = 1
                while left and time.monotonic() < deadline:
                    [left] = connection.execute(
                        "SELECT count(*) FROM jobs_job WHERE finished_at IS NULL"
                    ).fetchone()  # type: ignore[misc]
                    time.sleep(0.2)
                dead = [row[0] for row in connection.execute("SELECT name FROM jobs_dead_worker")]
                bad = connection.execute(
                    "SELECT count(*) FROM jobs_job WHERE state <> 'succeeded'"
                ).fetchone()
        finally:
            proxy.close()
        wrong = [f"the living worker {name} was declared dead" for name in dead]
        if left:
            wrong.append(f"{left} jobs have not ended, with connections frozen at {at}")
        if bad != (0,):
            wrong.append(f"{bad} jobs did not succeed")
        if not proxy.frozen:
            wrong.append(f"no connection was frozen: {at}")
        lines = (own.folder / "log").read_text().splitlines()
        wrong += [f"two attempts at once: {line}" for line in lines if " overlap " in line]
        if wrong:
            print((own.folder / "log.txt").read_text()[-5000:])
        print(f"      {proxy.connections} connections, {proxy.frozen} of them frozen")
        return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.death",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--timeout", type=float, default=6.0, help="HEARTBEAT_TIMEOUT, in seconds")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="", help="scenarios, with commas between them")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(10_000) if options.seed is None else options.seed
    draw = random.Random(seed)
    names = [*SCENARIOS, "half_open"]
    if options.only:
        names = [name for name in names if name in options.only.split(",")]
    if LIBFAKETIME is None and "clock" in names:
        print("clock: left out, for libfaketime is not installed (a Debian package)")
        names.remove("clock")
    print(f"seed {seed}, timeout {options.timeout:g} s", flush=True)
    broken = 0
    for _ in range(options.rounds):
        for name in names:
            began = time.monotonic()
            if name == "half_open":
                wrong = half_open(options.timeout, draw)
            else:
                wrong = run(name, options.timeout, draw)
            took = time.monotonic() - began
            print(f"{name:10} {took:5.0f} s  {'ok' if not wrong else 'WRONG'}", flush=True)
            for line in wrong[:10]:
                print(f"      {line}")
            broken += len(wrong)
    print(f"{len(names) * options.rounds} scenarios: {broken or 'no'} promises broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
