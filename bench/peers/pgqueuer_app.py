"""PgQueuer's worker, as `pgq run` has it, whose command line fails with this typer.

python -m bench.peers.pgqueuer_app BATCH [CONCURRENT]
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pgqueuer
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.models import Job

from bench.peer import Places

from .bases import COROUTINES


def _entrypoint(coroutine: Callable[[], Awaitable[None]]) -> Callable[[Job], Awaitable[None]]:
    async def run(_: Job) -> None:
        await coroutine()

    return run


@asynccontextmanager
async def _queuer() -> AsyncIterator[PgQueuer]:
    connection = await asyncpg.connect(Places.from_environment().database.url)
    try:
        queuer = PgQueuer.from_asyncpg_connection(connection)
        for name, coroutine in COROUTINES.items():
            queuer.entrypoint(name)(_entrypoint(coroutine))
        yield queuer
    finally:
        await connection.close()


if __name__ == "__main__":
    batch, *concurrent = map(int, sys.argv[1:])
    uvloop.run(
        pgqueuer.run(_queuer, batch_size=batch, max_concurrent_tasks=next(iter(concurrent), None))
    )
