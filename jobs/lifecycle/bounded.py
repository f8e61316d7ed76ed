"""A connection that never waits for ever: an answer that is lost on the way never comes."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import psycopg
from psycopg.rows import TupleRow
from psycopg.waiting import Ready

# Seconds that a client waits for an answer: longer than the server lets a statement take.
ANSWER_TIMEOUT = 40.0


class Connection(psycopg.Connection[TupleRow]):
    """A connection whose waits end: when no answer comes for `answer_timeout` seconds, it is closed
    and raises OperationalError."""

    answer_timeout: float = ANSWER_TIMEOUT

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().wait(_bounded(gen, self.answer_timeout), *args, **kwargs)
        except _NoAnswer:
            self.close()
            raise


class _NoAnswer(psycopg.OperationalError):
    """The server, or what stands between, has not answered in time."""


def _bounded(gen: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
    """The same generator of psycopg's waiting protocol, ended after so many seconds (monotonic)."""
    try:
        wanted = next(gen)
        deadline = time.monotonic() + seconds
        while True:
            ready = yield wanted
            if ready == Ready.NONE and time.monotonic() > deadline:
                raise _NoAnswer(f"no answer from PostgreSQL for {seconds:g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value
