"""Celery with Redis, as broker and for results, and the same with results ignored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bench.peer import PYTHON, Lot

from .bases import RedisPeer, several

if TYPE_CHECKING:
    import celery


@dataclass
class Celery(RedisPeer):
    def __post_init__(self) -> None:
        self.label = "Celery"
        self.needs = ("redis",)
        self.keeps = "result, for a day"
        self.jobs = 20_000
        self.cannot = {"many": "a group sends its jobs one by one"}
        self._app_name = "keep"

    @cached_property
    def _app(self) -> celery.Celery:
        from . import celery_app

        app: celery.Celery = getattr(celery_app, self._app_name)
        return app

    def enqueue_one(self, work: str) -> None:
        self._app.tasks[work].delay()

    def enqueue_many(self, work: str, count: int) -> None:
        task = self._app.tasks[work]
        # One producer for all, as the guide to calling tasks has it.
        with self._app.producer_pool.acquire(block=True) as producer:
            for _ in range(count):
                task.apply_async(producer=producer)

    def worker(self, lot: Lot) -> list[str]:
        command = [PYTHON, "-m", "celery", "-A", f"bench.peers.celery_app:{self._app_name}"]
        command += ["worker", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        if lot.slots > 1:
            command += ["-P", "threads", "-c", str(lot.slots // lot.processes)]
        else:
            # A quarter less processor time for a job than prefork, whose parent hands each to a
            # child by a pipe. To prefetch more than by default changes nothing.
            command += ["-P", "solo"]
        return several(lot.processes, command)

    def is_done(self) -> bool:
        asked = self.redis.pipeline().llen("celery").hlen("unacked").execute()
        return asked == [0, 0]

    def recorded(self) -> int | None:
        return sum(1 for _ in self.redis.scan_iter("celery-task-meta-*", count=10_000))


@dataclass
class CeleryForget(Celery):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.label = "Celery, results ignored"
        self.keeps = "nothing"
        self._app_name = "forget"

    def recorded(self) -> int | None:
        return None
