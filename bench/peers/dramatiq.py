"""Dramatiq with Redis, without results."""

from __future__ import annotations

from dataclasses import dataclass

from bench.peer import PYTHON, Lot

from .bases import RedisPeer


@dataclass
class Dramatiq(RedisPeer):
    def __post_init__(self) -> None:
        self.label = "Dramatiq"
        self.needs = ("redis",)
        self.keeps = "nothing"
        self.jobs = 20_000
        self.cannot = {"many": "a group sends its jobs one by one"}

    def enqueue_one(self, work: str) -> None:
        from .dramatiq_app import ACTORS

        ACTORS[work].send()

    def enqueue_many(self, work: str, count: int) -> None:
        for _ in range(count):
            self.enqueue_one(work)

    def worker(self, lot: Lot) -> list[str]:
        command = [PYTHON, "-m", "dramatiq", "bench.peers.dramatiq_app"]
        command += ["--processes", str(lot.processes)]
        if lot.slots > 1:
            return [*command, "--threads", str(lot.slots // lot.processes)]
        # Its consumer sleeps whenever it has fetched all that it may, by default two messages
        # for each thread: with a hundred it is half as fast again, with one thread or many.
        return ["env", "dramatiq_queue_prefetch=100", *command, "--threads", "8"]

    def is_done(self) -> bool:
        # A message stays here until it is acknowledged.
        return self.redis.hlen("dramatiq:default.msgs") == 0
