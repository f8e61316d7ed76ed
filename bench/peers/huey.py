"""Huey with Redis, without results."""

from __future__ import annotations

from dataclasses import dataclass

from bench.peer import PYTHON, Lot

from .bases import RedisPeer, several


@dataclass
class Huey(RedisPeer):
    def __post_init__(self) -> None:
        self.label = "Huey"
        self.needs = ("redis",)
        self.keeps = "nothing"
        self.jobs = 20_000
        self.cannot = {"many": "map sends its jobs one by one"}
        self._workers = 0

    def enqueue_one(self, work: str) -> None:
        from .huey_app import TASKS

        TASKS[work]()

    def enqueue_many(self, work: str, count: int) -> None:
        for _ in range(count):
            self.enqueue_one(work)

    def worker(self, lot: Lot) -> list[str]:
        # For no-ops two threads in each process: one runs while the other waits for Redis.
        # Faster than one worker in each, be it a thread or a process; more threads add nothing.
        threads = max(2, lot.slots // lot.processes)
        self._workers = lot.processes * threads
        command = [PYTHON, "-m", "huey.bin.huey_consumer", "bench.peers.huey_app.huey"]
        # Quiet: it would log two lines for each job.
        command += ["--quiet", "--no-periodic", "-k", "thread", "-w", str(threads)]
        return several(lot.processes, command)

    def is_done(self) -> bool:
        """A job leaves the list as it starts, so all workers have to be waiting for another one."""
        if self.redis.llen("huey.redis.bench"):
            return False
        waiting: int = self.redis.info("clients")["blocked_clients"]
        return waiting >= self._workers
