"""What a queue has to answer to be measured, whatever it is written in."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .servers import Database


@dataclass(frozen=True)
class Places:
    """Where a queue finds its servers: a database and a Redis database of its own, and a folder
    for files."""

    database: Database
    redis_url: str
    folder: Path
    # `work.ping` sends to this UDP port.
    ping_port: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """For workers and producers, which find everything here again by `from_environment`."""
        return {
            **self.database.environment,
            "BENCH_REDIS_URL": self.redis_url,
            "BENCH_FOLDER": str(self.folder),
            "BENCH_PING_PORT": str(self.ping_port),
        }

    @classmethod
    def from_environment(cls) -> Places:
        read = os.environ
        return cls(
            Database(read["BENCH_HOST"], read["BENCH_DATABASE"]),
            read["BENCH_REDIS_URL"],
            Path(read["BENCH_FOLDER"]),
            int(read["BENCH_PING_PORT"]),
        )


@dataclass(frozen=True)
class Lot:
    """A worker to start: for no-op jobs on so many processes, or for naps on so many slots."""

    processes: int = 2
    # 1: the default for no-ops. More: naps, in threads or coroutines, whatever the queue has.
    slots: int = 1
    coroutines: bool = False


@dataclass
class Peer:
    """One queue in one configuration, in a process of its own (see host.py): its module may
    read Places.environment on import. Measures call `prepare` once, then `clear`, producers, a
    worker, and `recorded` when `is_done`.
    """

    places: Places
    # As in the table.
    label: str = field(default="", init=False)
    # Of "postgres", "redis", "node".
    needs: tuple[str, ...] = field(default=(), init=False)
    # What stays of a finished job, in a word or two.
    keeps: str = field(default="", init=False)
    # Jobs that this queue runs in some seconds: slow ones get fewer.
    jobs: int = field(default=20_000, init=False)
    # Which of "many", "naps", "ping" it cannot do, and why.
    cannot: dict[str, str] = field(default_factory=dict, init=False)

    def missing(self) -> str | None:
        """Why it cannot be measured here; None when it can."""
        return None

    def prepare(self) -> None:
        """Make its tables, if it has any; once."""

    def clear(self) -> None:
        """Forget every job, waiting and finished. No worker runs."""
        raise NotImplementedError

    def enqueue_one(self, work: str) -> None:
        """Enqueue `noop`, `nap`, `async_nap` or `ping`, durably, as a request would."""
        raise NotImplementedError

    def enqueue_many(self, work: str, count: int) -> None:
        """The same in bulk, in the fastest way that its documentation shows."""
        raise NotImplementedError

    def worker(self, lot: Lot) -> list[str]:
        """The command that starts a worker, in its best configuration for the lot."""
        raise NotImplementedError

    def is_done(self) -> bool:
        """Whether every job has ended and is recorded. Cheap: asked fifty times a second."""
        raise NotImplementedError

    def recorded(self) -> int | None:
        """How many jobs it has recorded as done; None when it keeps nothing to count."""
        return None

    def start(self, lot: Lot) -> subprocess.Popen[bytes]:
        """Start the worker in a session of its own, so that all of it can be stopped."""
        with (self.places.folder / "worker.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                self.worker(lot),
                env=os.environ | self.places.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


PYTHON = sys.executable


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
