"""PgQueuer: workers with asyncpg and uvloop, requests with psycopg."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bench.peer import PYTHON, Lot

from .bases import PostgresPeer, several

if TYPE_CHECKING:
    from pgqueuer.queries import SyncQueries


@dataclass
class PgQueuer(PostgresPeer):
    def __post_init__(self) -> None:
        self.label = "PgQueuer"
        self.needs = ("postgres",)
        self.keeps = "log of states"
        self.jobs = 50_000

    def prepare(self) -> None:
        asyncio.run(self._install())

    async def _install(self) -> None:
        import asyncpg
        from pgqueuer.queries import Queries

        connection = await asyncpg.connect(self.places.database.url)
        queries = Queries.from_asyncpg_connection(connection)
        if not await queries.schema_is_installed():
            await queries.install()
            await queries.optimize_autovacuum()
        await connection.close()

    def clear(self) -> None:
        self.connection.execute("TRUNCATE pgqueuer, pgqueuer_log, pgqueuer_statistics")

    @cached_property
    def _queries(self) -> SyncQueries:
        from pgqueuer.db import SyncPsycopgDriver
        from pgqueuer.queries import SyncQueries

        return SyncQueries(SyncPsycopgDriver(self.connection))

    def enqueue_one(self, work: str) -> None:
        self._queries.enqueue(work, None)

    def enqueue_many(self, work: str, count: int) -> None:
        self._queries.enqueue([work] * count, [None] * count, [0] * count)

    def worker(self, lot: Lot) -> list[str]:
        command = [PYTHON, "-m", "bench.peers.pgqueuer_app"]
        if lot.slots > 1:
            slots = lot.slots // lot.processes
            # It wants a batch to be half of what may run, at most.
            return several(lot.processes, [*command, str(slots // 2), str(slots)])
        # As fast as it gets: four times its default of 10, and a thousand are slower again.
        return several(lot.processes, [*command, "500"])

    def is_done(self) -> bool:
        # The newest first: the oldest rows are dead by the thousand.
        return bool(self.ask("SELECT NOT EXISTS (SELECT FROM pgqueuer ORDER BY id DESC LIMIT 1)"))

    def recorded(self) -> int | None:
        return int(self.ask("SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'"))
