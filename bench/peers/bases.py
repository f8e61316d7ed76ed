"""What the adapters share: connections that are kept between calls, and the work itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench import work
from bench.peer import Peer

if TYPE_CHECKING:
    import psycopg
    import redis

# For queues that run functions: a coroutine's nap is a thread's.
FUNCTIONS: dict[str, Callable[[], None]] = {
    "noop": work.noop,
    "nap": work.nap,
    "async_nap": work.nap,
    "ping": work.ping,
}


async def _noop() -> None:
    work.noop()


async def _ping() -> None:
    work.ping()


# For queues that run coroutines, and that would take a thread for anything else.
COROUTINES: dict[str, Callable[[], Awaitable[None]]] = {
    "noop": _noop,
    "nap": work.async_nap,
    "async_nap": work.async_nap,
    "ping": _ping,
}


def several(count: int, command: list[str]) -> list[str]:
    """The command that runs `command` in so many processes, and ends with the last of them.

    A shell, since a Python here would count as the worker's memory.
    """
    if count == 1:
        return command
    start = " ".join(['"$@" &'] * count)
    return ["sh", "-c", f"trap 'trap : TERM; kill 0' TERM; {start} wait; wait", "sh", *command]


@dataclass
class PostgresPeer(Peer):
    """A queue in a database of its own."""

    @cached_property
    def connection(self) -> psycopg.Connection[Any]:
        import psycopg

        return psycopg.connect(self.places.database.url, autocommit=True)

    def ask(self, query: str) -> Any:
        """The one value that the query has for an answer."""
        row = self.connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


@dataclass
class RedisPeer(Peer):
    """A queue in a Redis that it has for itself."""

    @cached_property
    def redis(self) -> redis.Redis:
        import redis

        return redis.Redis.from_url(self.places.redis_url)

    def clear(self) -> None:
        self.redis.flushdb()
