"""The supervisor's link to the database: one connection for its statements, one that listens."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any

import psycopg

from jobs import conf, lifecycle

logger = logging.getLogger("jobs")
Connection = psycopg.Connection[Any]

# The listener is asked for an answer at most so often, in seconds.
_CHECK = 15.0


class Link:
    """Made again, ever more patiently, after whatever has cut it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.control: Connection | None = None
        self.listener: Connection | None = None
        # A supervisor that waits for one answer for too long would be declared dead.
        timeout = conf.settings().heartbeat_timeout.total_seconds()
        self._statement_timeout = min(lifecycle.STATEMENT_TIMEOUT, max(1.5, timeout / 4))
        self._answer_timeout = max(2.5, timeout / 3)
        self._check_at = 0.0
        self._try_at = 0.0
        self._failures = 0

    def connect(self, *, patiently: bool = True) -> bool:
        """Both connections, if they are not there; whether they are new.

        `patiently`: not before it is time to try again, and without an error.
        """
        if self.control is not None or (patiently and time.monotonic() < self._try_at):
            return False
        try:
            self.control = self._connect(f"jobs worker {self._name}")
            if conf.settings().listen:
                self.listener = self._connect(f"jobs listener {self._name}", pinned=False)
                self.listener.execute("LISTEN jobs")
        except psycopg.Error as error:
            self._cut(error)
            if patiently:
                return False
            raise
        if self._failures:
            logger.warning("worker %s is connected again", self._name)
        self._failures = 0
        return True

    def _connect(self, name: str, *, pinned: bool = True) -> Connection:
        return lifecycle.connect(
            name,
            pinned=pinned,
            statement_timeout=self._statement_timeout,
            answer_timeout=self._answer_timeout,
        )

    def check_listener(self) -> None:
        """Ask the listener for an answer now and then: where a network has swallowed its end, no
        notification would ever come."""
        now = time.monotonic()
        if self.listener is None or now < self._check_at:
            return
        self._check_at = now + _CHECK
        with self.trying():
            self.listener.execute("")

    @contextlib.contextmanager
    def trying(self) -> Any:
        """Errors of the database are told; the link is cut if it is gone."""
        try:
            yield
        except psycopg.Error as error:
            if self.control is None or lifecycle.is_gone(error, self.control):
                self._cut(error)
            else:
                logger.warning("worker %s: %s", self._name, lifecycle.describe(error))

    def hear(self) -> set[str]:
        """The queues in which somebody enqueued while a runner slept."""
        assert self.listener is not None
        try:
            return {notify.payload for notify in self.listener.notifies(timeout=0)}
        except psycopg.Error as error:
            self._cut(error)
            return set()

    def _cut(self, error: psycopg.Error) -> None:
        self._failures += 1
        if self._failures == 1 or self._failures % 20 == 0:
            logger.warning("worker %s: %s", self._name, lifecycle.describe(error))
        self.close()
        self._try_at = time.monotonic() + lifecycle.pause_after(self._failures)

    @property
    def connections(self) -> list[Connection]:
        return [one for one in (self.control, self.listener) if one is not None]

    def close(self) -> None:
        for one in self.connections:
            one.close()
        self.control = self.listener = None
