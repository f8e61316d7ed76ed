"""A runner in this process, whose rounds a test takes itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from jobs import ids, lifecycle
from jobs.worker import Options, presence
from jobs.worker.bell import Bell
from jobs.worker.board import Board
from jobs.worker.options import Identity
from jobs.worker.runner import Runner
from tests.eventually import eventually


class OneRunner:
    """A runner whose rounds the test takes itself, and whose slots are threads."""

    def __init__(self, *, serves: bool = True, **options: Any) -> None:
        self.options = Options(**{"threads": 2} | options)
        self.identity = Identity(ids.uuid7(), "test/1")
        self.connection = lifecycle.connect("jobs test")
        presence.register(
            self.connection, self.identity.worker_id, self.options, [self.identity.runner]
        )
        self.runner = Runner(self.options, self.identity, Board(), Bell())
        # Handlers of signals may be set in the main thread only, which is not the slots' here.
        self.runner.slots._keep_handler = lambda number, handler: None
        self.dispatcher = self.runner.dispatcher
        self.dispatcher.connect()
        self.thread = threading.Thread(target=self.runner.slots.serve, daemon=True)
        if serves:
            self.thread.start()

    def step_until(self, condition: Callable[[], Any]) -> None:
        def step() -> Any:
            self.dispatcher.step()
            return condition()

        eventually(step)

    def close(self) -> None:
        self.runner.slots.close()
        if self.thread.is_alive():
            self.thread.join(10)
        self.dispatcher.leave()
        self.connection.close()
