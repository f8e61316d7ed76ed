"""Kill, freeze, cut off and restart everything at random while jobs run; then audit.

    python -m tests.chaos --minutes 10 --seed 7

A PostgreSQL of its own, three workers. What happens when is drawn from the seed. Ends with exit
code 1 and a list when a promise was broken. What was logged stays in .chaos/.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from project.private_postgres.server import Server
from tests.death.proxy import Proxy

if TYPE_CHECKING:
    from .audit import Done

FOLDER = Path(".chaos")
LIBFAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
# What PostgreSQL's environment has and workers' must not.
_OF_THE_SERVER = ("LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE")
# Each with other slots, so that every kind of interruption is met; and with some to spare, so
# that what was killed need not wait for one.
WORKERS = (
    ("--processes", "6"),
    ("--processes", "2", "--threads", "8"),
    ("--processes", "1", "--coroutines", "20", "--max-jobs", "2000"),
)
# Jobs a second, and how many may wait at most.
_PACE, _BACKLOG = 90, 1500
# Between two events, in seconds; and between two restarts of PostgreSQL.
_PAUSE, _RESTART = (0.5, 2.5), (25.0, 60.0)
# A freeze that nobody may be rescued for, and one that somebody has to be, in seconds.
_NAP, _COMA = (0.1, 2.0), (7.0, 9.0)
# Kinds of jobs that are paused now and then, and for how long, in seconds; and how long it takes
# until a worker has heard that it is over.
_PAUSED, _PAUSED_FOR, _HEARD = ("asynchronous", "flaky"), (0.5, 6.0), 3.0
# How long everything has to come to its end, and each worker, in seconds.
_SETTLE, _STOP = 120.0, 20.0
# Kinds of jobs, and how many of a hundred.
_KINDS = {
    "plain": 46, "asynchronous": 15, "atomic": 20, "flaky": 14, "slow": 2, "stubborn": 1,
    "poison": 1, "endless": 1,
}  # fmt: skip
# What is done, and how often of a hundred times.
_EVENTS = {
    "kill_runner": 30, "kill_worker": 6, "stop_worker": 6, "nap": 14, "coma": 2, "cut": 14,
    "pause": 10, "lock": 5, "alter": 4, "refuse": 5, "clock": 2, "slow": 2,
}  # fmt: skip
# Tables that are locked, and for how long; and how long rows are refused, and commits are slow.
_LOCKED, _LOCKED_FOR = ("jobs_job", "jobs_worker", "jobs_claim", "jobs_attempt"), (0.5, 4.0)
_REFUSED = (("jobs_job", "UPDATE", "NEW.id"), ("jobs_attempt", "INSERT", "NEW.job_id"),
            ("jobs_claim", "DELETE", "OLD.id"))  # fmt: skip
_SLOW_FOR, _SLOW_COMMIT = (1.0, 4.0), "50000"
# Of connections of the worker behind the proxy, one in so many is frozen, after so many messages.
_FROZEN, _FROZEN_AFTER = 3, (30, 600)
_TRIGGER = """
CREATE FUNCTION chaos_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF left(md5({column}::text), 1) = '{digit}' THEN RAISE EXCEPTION 'refused by chaos'; END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER chaos_refuse BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION chaos_refuse()
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="repeat what was drawn before")
    options = parser.parse_args()
    seed = random.randrange(10_000) if options.seed is None else options.seed
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = FOLDER.absolute()
    folder.mkdir(exist_ok=True)
    for name in ("log", "locks", "worker.log"):
        (folder / name).unlink(missing_ok=True)
    server = Server(folder / "postgres")
    clock = folder / "clock"
    if LIBFAKETIME is None:
        print("no steps of the clock: libfaketime is not installed (a Debian package)")
    else:
        clock.write_text("+0")
        # Of PostgreSQL alone, which inherits it.
        os.environ |= {
            "LD_PRELOAD": str(LIBFAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    server.stop("immediate")
    server.ensure_running()
    try:
        os.environ |= {
            "CHAOS_HOST": str(server.socket_folder),
            "CHAOS_FOLDER": str(folder),
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
        }
        print(f"seed {seed}, {options.minutes:g} minutes", flush=True)
        return Chaos(server, folder, seed, options.minutes * 60).run()
    finally:
        server.stop()


class Chaos:
    def __init__(self, server: Server, folder: Path, seed: int, seconds: float) -> None:
        import django

        django.setup()
        from .audit import Done

        self._server = server
        self._folder = folder
        # Apart, so that what happens does not depend on how many jobs there were.
        self._draw = random.Random(seed)
        self._proxy = Proxy(server.socket_folder / ".s.PGSQL.5432", self._freeze_at)
        self._side = random.Random(seed + 2)
        self._jobs = random.Random(seed + 1)
        self._seconds = seconds
        self._workers: list[subprocess.Popen[bytes]] = []
        self._numbers = itertools.count()
        self._enqueued: set[int] = set()
        self._done: Done = Done()
        # What is to be done later: (when, number, what).
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._backlog = 0
        self._acts: list[threading.Thread] = []
        # Once it settles, nothing more is frozen.
        self._is_over = False

    def run(self) -> int:
        self._prepare()
        with contextlib.ExitStack() as stack:
            stack.callback(self._kill_all)
            for where, arguments in enumerate(WORKERS):
                self._start(arguments, where)
            began = time.monotonic()
            self._at(began + 1.0, self._event)
            self._at(began + self._draw.uniform(10.0, 20.0), self._restart)
            self._at(began, self._look)
            said = began
            while (now := time.monotonic()) - began < self._seconds:
                self._do_what_is_due(now)
                self._enqueue((now - began) * _PACE)
                if now - said > 15.0:
                    said = now
                    print(f"{now - began:6.0f} s  {self._told()}", flush=True)
                time.sleep(0.02)
            settled = self._settle()
            codes = self._stop_workers()
        return self._judge(settled, codes)

    def _prepare(self) -> None:
        from django.core.management import call_command
        from django.db import connection

        from .tasks import LEDGER

        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA IF EXISTS public CASCADE")
            cursor.execute("CREATE SCHEMA public")
            cursor.execute(LEDGER)
        call_command("migrate", verbosity=0)

    def _told(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in sorted(self._done.counts.items()))
        return f"{len(self._enqueued):,} jobs, {self._backlog:,} waiting; {counts}"

    # Jobs.

    def _enqueue(self, wanted: float) -> None:
        """As many as are due by now; what may not have committed is not counted on."""
        from django.db import Error, connection, transaction

        from . import tasks

        if self._backlog > _BACKLOG:
            return
        due = min(100, int(wanted) - len(self._enqueued))
        if due <= 0:
            return
        kinds = self._jobs.choices(list(_KINDS), weights=list(_KINDS.values()), k=due)
        made = [(next(self._numbers), kind, self._jobs.uniform(0.0, 0.02)) for kind in kinds]
        try:
            with transaction.atomic():
                for number, kind, seconds in made:
                    getattr(tasks, kind).enqueue(number, seconds)
                    if kind == "endless":
                        self._at(time.monotonic() + 0.5 + 50 * seconds, self._cancel(number))
        except Error:
            connection.close()
            return
        self._enqueued |= {number for number, *_ in made}

    def _cancel(self, number: int) -> Callable[[], None]:
        from django.db import Error, connection

        from jobs import Job

        def cancel() -> None:
            try:
                for job in Job.objects.filter(task__endswith=".endless", finished_at=None):
                    if job.args[0] == number:
                        job.cancel(by="chaos")
            except Error:
                connection.close()
                # Until it is known that it was.
                self._at(time.monotonic() + 1.0, cancel)

        return cancel

    def _look(self) -> None:
        from django.db import Error, connection

        from jobs import Job

        try:
            self._backlog = Job.objects.filter(finished_at=None).count()
        except Error:
            connection.close()
        self._at(time.monotonic() + 0.5, self._look)

    # Events.

    def _at(self, moment: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._later, (moment, next(self._order), what))

    def _do_what_is_due(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()

    def _event(self) -> None:
        [name] = self._draw.choices(list(_EVENTS), weights=list(_EVENTS.values()))
        # Drawn before it is known whether there is anybody to do it to.
        where, which, how_long = self._draw.randrange(3), self._draw.random(), self._draw.random()
        getattr(self, f"_{name}")(where, which, how_long)
        self._at(time.monotonic() + self._draw.uniform(*_PAUSE), self._event)

    def _kill_runner(self, where: int, which: float, how_long: float) -> None:
        from .audit import Kill

        runners = children(self._workers[where].pid)
        if runners:
            pid = runners[int(which * len(runners))]
            self._done.kills.append(Kill(time.monotonic_ns(), pid, self._workers[where].pid))
            self._send(pid, signal.SIGKILL)
            self._done.counts["runners killed"] += 1

    def _kill_worker(self, where: int, which: float, how_long: float) -> None:
        """The supervisor alone: its runners have to end by themselves."""
        began = time.monotonic_ns()
        self._done.blind.append((self._workers[where].pid, began, began + int(1e10)))
        self._workers[where].kill()
        self._workers[where].wait()
        self._done.counts["workers killed"] += 1
        self._start(WORKERS[where], where)

    def _stop_worker(self, where: int, which: float, how_long: float) -> None:
        """As a deployment does: a new one while the old one ends."""
        old = self._workers[where]
        old.terminate()
        self._start(WORKERS[where], where)
        self._done.counts["workers replaced"] += 1

        def reap() -> None:
            if old.poll() is None:
                self._at(time.monotonic() + 1.0, reap)

        reap()

    def _nap(self, where: int, which: float, how_long: float) -> None:
        worker = self._workers[where].pid
        pids = [worker, *children(worker)]
        pid = pids[int(which * len(pids))]
        began, seconds = time.monotonic_ns(), _NAP[0] + how_long * (_NAP[1] - _NAP[0])
        self._done.blind.append((pid, began, began + int(seconds * 1e9)))
        self._freeze([pid], seconds)
        self._done.counts["naps"] += 1

    def _coma(self, where: int, which: float, how_long: float) -> None:
        worker = self._workers[where].pid
        pids = [worker, *children(worker)]
        self._done.frozen |= set(pids)
        began = time.monotonic_ns()
        seconds = _COMA[0] + how_long * (_COMA[1] - _COMA[0])
        self._done.outages.append((began, began + int(seconds * 1e9)))
        self._freeze(pids, seconds)
        self._done.counts["comas"] += 1

    def _freeze(self, pids: list[int], seconds: float) -> None:
        for pid in pids:
            self._send(pid, signal.SIGSTOP)
        self._at(
            time.monotonic() + seconds,
            lambda: [self._send(pid, signal.SIGCONT) for pid in pids] and None,
        )

    def _send(self, pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def _cut(self, where: int, which: float, how_long: float) -> None:
        """Terminate some of the connections that workers have."""
        from django.db import Error, connection

        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE application_name LIKE 'jobs %%' AND random() < %s",
                    [which],
                )
                self._done.counts["connections cut"] += cursor.fetchone()[0]
        except Error:
            connection.close()

    def _pause(self, where: int, which: float, how_long: float) -> None:
        """A task; by itself it ends, or by somebody's hand."""
        from django.db import Error, connection

        from jobs import lifecycle

        kind = _PAUSED[int(which * len(_PAUSED))]
        seconds = _PAUSED_FOR[0] + how_long * (_PAUSED_FOR[1] - _PAUSED_FOR[0])
        until = datetime.now(UTC) + timedelta(seconds=seconds) if where == 0 else None
        began = time.monotonic_ns()
        try:
            lifecycle.pause_task(f"tests.chaos.tasks.{kind}", by="chaos", until=until)
        except Error:
            connection.close()
            return
        self._done.counts["tasks paused"] += 1
        self._done.pauses.append((kind, began, began + int((seconds + _HEARD) * 1e9)))

        def resume() -> None:
            try:
                lifecycle.resume_task(f"tests.chaos.tasks.{kind}")
            except Error:
                connection.close()
                self._at(time.monotonic() + 1.0, resume)
                return
            heard = time.monotonic_ns() + int(_HEARD * 1e9)
            self._done.pauses.append((kind, began, heard))

        if until is None:
            self._at(time.monotonic() + seconds, resume)

    # What is done beside, by a connection of its own.

    def _beside(self, seconds: float, *statements: str, after: str = "") -> None:
        """Run the statements in one transaction that stays open for so long; then `after`."""

        where = f"postgresql://postgres@/postgres?host={self._server.socket_folder}"

        def lift() -> bool:
            with contextlib.suppress(psycopg.Error), psycopg.connect(where) as other:
                other.execute("SET lock_timeout = '3s'")
                other.execute(after)  # type: ignore[arg-type]
                return True
            return False

        def act() -> None:
            with contextlib.suppress(psycopg.Error), psycopg.connect(where) as other:
                other.execute("SET lock_timeout = '3s'")
                for statement in statements:
                    other.execute(statement)  # type: ignore[arg-type]
                if after:
                    other.commit()
                time.sleep(seconds)
            # Whatever has become of the session, and of PostgreSQL, meanwhile.
            while after and not lift():
                time.sleep(0.2)

        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        self._acts.append(thread)

    def _lock(self, where: int, which: float, how_long: float) -> None:
        table = _LOCKED[int(which * len(_LOCKED))]
        seconds = _between(_LOCKED_FOR, how_long)
        self._beside(seconds, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        self._away(seconds + 1)
        self._done.counts["tables locked"] += 1

    def _alter(self, where: int, which: float, how_long: float) -> None:
        """A reader, as a dump is, and an ALTER TABLE that waits behind it."""
        table, seconds = _LOCKED[int(which * len(_LOCKED))], _between(_LOCKED_FOR, how_long)
        self._beside(seconds, f"SELECT count(*) FROM {table}")
        change = f"ALTER TABLE {table} ALTER COLUMN id SET STATISTICS 100"
        self._at(time.monotonic() + 0.2, lambda: self._beside(0.0, change))
        self._away(seconds + 4)
        self._done.counts["tables altered behind a reader"] += 1

    def _refuse(self, where: int, which: float, how_long: float) -> None:
        table, event, column = _REFUSED[int(which * len(_REFUSED))]
        seconds = _between(_LOCKED_FOR, how_long)
        made = _TRIGGER.format(
            table=table, event=event, column=column, digit=f"{int(how_long * 16):x}"
        )
        self._beside(seconds, made, after="DROP FUNCTION IF EXISTS chaos_refuse() CASCADE")
        self._away(seconds + 6)
        self._done.counts["rows refused"] += 1

    def _slow(self, where: int, which: float, how_long: float) -> None:
        """As on a slow disk, each commit takes its time."""
        seconds = _between(_SLOW_FOR, how_long)
        self._configure(f"ALTER SYSTEM SET commit_delay = {_SLOW_COMMIT}")
        self._configure("ALTER SYSTEM SET commit_siblings = 0")
        self._at(time.monotonic() + seconds, self._quick)
        self._away(seconds + 1)
        self._done.counts["slow disks"] += 1

    def _quick(self) -> None:
        self._configure("ALTER SYSTEM RESET commit_delay")
        self._configure("ALTER SYSTEM RESET commit_siblings")

    def _configure(self, statement: str) -> None:
        where = f"postgresql://postgres@/postgres?host={self._server.socket_folder}"
        with contextlib.suppress(psycopg.Error), psycopg.connect(where, autocommit=True) as other:
            other.execute(statement)  # type: ignore[arg-type]
            other.execute("SELECT pg_reload_conf()")

    def _clock(self, where: int, which: float, how_long: float) -> None:
        """The clock of the database's machine steps, forward or back, and right again."""
        if LIBFAKETIME is None:
            return
        offset = int((which - 0.5) * 240)
        (self._folder / "clock").write_text(f"{offset:+d}s")
        self._at(time.monotonic() + 1 + 3 * how_long, self._right)
        self._away(10)
        self._done.counts["steps of the clock"] += 1

    def _right(self) -> None:
        (self._folder / "clock").write_text("+0")

    def _away(self, seconds: float) -> None:
        """For so long it may take longer until what was killed runs again."""
        began = time.monotonic_ns()
        self._done.outages.append((began, began + int(seconds * 1e9)))

    def _freeze_at(self, number: int, side: str, name: str) -> int | None:
        """Of the workers' own connections only: a site's has no limit for an answer."""
        if not name.startswith("jobs ") or self._side.randrange(2 * _FROZEN) or self._is_over:
            return None
        return self._side.randint(*_FROZEN_AFTER)

    def _restart(self) -> None:
        from django.db import connection

        began = time.monotonic_ns()
        mode = self._draw.choice(["fast", "immediate"])
        pause = self._draw.uniform(0.0, 3.0)
        self._server.stop(mode)
        time.sleep(pause)
        self._server.ensure_running()
        connection.close()
        self._done.outages.append((began, time.monotonic_ns()))
        self._done.returns.append(time.monotonic_ns())
        self._done.counts["PostgreSQL restarts"] += 1
        self._at(time.monotonic() + self._draw.uniform(*_RESTART), self._restart)

    # Workers.

    def _start(self, arguments: tuple[str, ...], where: int) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in _OF_THE_SERVER}
        if where == len(WORKERS) - 1:
            environment |= {"CHAOS_HOST": "127.0.0.1", "CHAOS_PORT": str(self._proxy.port)}
        with (self._folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "manage.py", "runworker", *arguments],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if where == len(self._workers):
            self._workers.append(worker)
        else:
            self._workers[where] = worker

    def _settle(self) -> bool:
        """Wait until every job has ended and every dead worker is buried, and thaw whoever is
        frozen; False: it took too long."""
        from django.db import Error, connection

        from jobs import Job
        from jobs.models import Worker

        self._is_over = True
        for act in self._acts:
            act.join(20)
        self._right()
        self._quick()
        deadline = time.monotonic() + _SETTLE
        # No more events: only what undoes one, and cancellations.
        keep = ("cancel", "<lambda>", "reap", "resume", "_quick", "_right")
        self._later = [one for one in self._later if one[2].__name__ in keep]
        heapq.heapify(self._later)
        while time.monotonic() < deadline:
            self._do_what_is_due(time.monotonic())
            for where, worker in enumerate(self._workers):
                if worker.poll() is not None:
                    self._start(WORKERS[where], where)
            with contextlib.suppress(Error):
                pids = [worker.pid for worker in self._workers]
                dead = Worker.objects.exclude(pid__in=pids)
                # One that is still starting would not know yet how to stop gently.
                ready = Worker.objects.filter(pid__in=pids).exclude(runners=[])
                if not (
                    self._later or Job.objects.filter(finished_at=None).exists() or dead.exists()
                ) and ready.count() == len(pids):
                    return True
            connection.close_if_unusable_or_obsolete()
            time.sleep(0.1)
        return False

    def _stop_workers(self) -> list[int | None]:
        for worker in self._workers:
            worker.terminate()
        codes: list[int | None] = []
        for worker in self._workers:
            try:
                codes.append(worker.wait(_STOP))
            except subprocess.TimeoutExpired:
                codes.append(None)
        return codes

    def _kill_all(self) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                for pid in (worker.pid, *children(worker.pid)):
                    self._send(pid, signal.SIGKILL)
                worker.wait()

    def _judge(self, settled: bool, codes: list[int | None]) -> int:
        from .audit import audit

        report = audit(self._folder, self._enqueued, self._done)
        wrong = report.wrong
        if not settled:
            wrong.insert(0, f"not every job had ended {_SETTLE:g} s after the last event")
        if any(codes):
            wrong.insert(0, f"workers ended with {codes}")
        if strays := left_behind():
            wrong.insert(0, f"processes are left: {strays}")
        self._done.counts["connections frozen"] = self._proxy.frozen
        self._proxy.close()
        figures = {**report.figures, "done": dict(self._done.counts)}
        (self._folder / "report.json").write_text(json.dumps(figures, indent=1))
        print(json.dumps(figures, indent=1))
        for line in wrong[:50]:
            print(f"WRONG: {line}")
        kills = self._done.counts["runners killed"] + self._done.counts["workers killed"]
        print(
            f"{report.figures['jobs']:,} jobs, {kills} kills, "
            f"{self._done.counts['PostgreSQL restarts']} PostgreSQL restarts: "
            f"{len(wrong) or 'no'} promises broken"
        )
        return 1 if wrong else 0


def _between(bounds: tuple[float, float], share: float) -> float:
    return bounds[0] + share * (bounds[1] - bounds[0])


def children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def left_behind() -> list[int]:
    """Workers of this run that still live, whoever's children they are by now."""
    return [pid for pid in _processes() if _is_worker_of_ours(pid)]


def _processes() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _is_worker_of_ours(pid: int) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    own = f"CHAOS_FOLDER={os.environ['CHAOS_FOLDER']}\0".encode()
    return own in environment and b"runworker" in command


if __name__ == "__main__":
    sys.exit(main())
