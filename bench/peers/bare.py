"""The limit: the same statements that a durable queue needs, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from bench.peer import PYTHON, Lot
from jobs.ids import uuid7

from .bases import PostgresPeer

_TABLE = """
CREATE TABLE IF NOT EXISTS bare_job (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    task text NOT NULL,
    queue_name text NOT NULL DEFAULT 'default',
    priority smallint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'queued',
    claimable boolean NOT NULL DEFAULT true,
    arguments jsonb NOT NULL,
    enqueued_at timestamptz NOT NULL DEFAULT now(),
    run_at timestamptz NOT NULL DEFAULT now(),
    claim uuid,
    result jsonb,
    finished_at timestamptz
) WITH (fillfactor = 50);
CREATE INDEX IF NOT EXISTS bare_job_claim
    ON bare_job (queue_name, priority DESC, run_at, id) WHERE claimable;
"""


@dataclass
class BareSQL(PostgresPeer):
    def __post_init__(self) -> None:
        self.label = "bare SQL"
        self.needs = ("postgres",)
        self.keeps = "result, time"
        self.jobs = 100_000
        self.cannot = {"naps": "it runs no code", "ping": "it runs no code"}

    def prepare(self) -> None:
        self.connection.execute(_TABLE)

    def clear(self) -> None:
        self.connection.execute("TRUNCATE bare_job")

    def enqueue_one(self, work: str) -> None:
        self.connection.execute(
            "INSERT INTO bare_job (id, task, arguments) VALUES (%s, %s, %s::jsonb)",
            [uuid7(), work, "{}"],
            prepare=True,
        )

    def enqueue_many(self, work: str, count: int) -> None:
        with (
            self.connection.cursor() as cursor,
            cursor.copy("COPY bare_job (task, arguments) FROM STDIN") as copy,
        ):
            copy.write(f"{work}\t{{}}\n" * count)

    def worker(self, lot: Lot) -> list[str]:
        return [PYTHON, "-m", "bench.peers.bare_worker", str(lot.processes)]

    def is_done(self) -> bool:
        # No index has what runs, so that is asked only when nothing waits.
        return bool(
            self.ask("SELECT NOT EXISTS (SELECT FROM bare_job WHERE claimable)")
            and self.ask("SELECT NOT EXISTS (SELECT FROM bare_job WHERE state = 'running')")
        )

    def recorded(self) -> int | None:
        return int(self.ask("SELECT count(*) FROM bare_job WHERE state = 'succeeded'"))
