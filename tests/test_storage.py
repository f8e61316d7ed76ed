"""Finishing is a heap-only update, and the claim stays on its index: the two rules of speed."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection as django

from jobs import enqueue_many, ids, lifecycle
from jobs.lifecycle import START, Brought, Claimed, Ended, Place
from jobs.lifecycle.statements import statement
from jobs.models import Worker
from jobs.outcomes import Succeeded
from tests import tasks


def columns_that_a_success_writes() -> set[str]:
    update = statement("succeed").partition("SET")[2].partition("FROM")[0]
    progress = statement("progress").partition("SET")[2].partition("FROM")[0]
    return set(re.findall(r"(\w+) = ", update + progress))


@pytest.mark.django_db
def test_no_index_mentions_a_column_that_a_success_writes() -> None:
    with django.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'jobs_job'")
        definitions = [row[0].partition(" USING ")[2] for row in cursor.fetchall()]
    written = columns_that_a_success_writes()

    assert {"state", "result", "finished_at", "last_attempted_at"} <= written
    assert len(definitions) == 8
    for definition in definitions:
        assert not written & set(re.findall(r"\w+", definition)), definition


@pytest.mark.django_db
def test_the_jobs_table_has_one_full_index_only() -> None:
    with django.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE tablename = 'jobs_job' "
            "AND indexdef NOT LIKE '%WHERE%'"
        )
        assert cursor.fetchall() == [("jobs_job_pkey",)]
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'jobs_job'")
        options = cursor.fetchone()[0]

    assert "fillfactor=50" in options
    assert "vacuum_truncate=off" in options


def test_four_of_five_finishes_are_heap_only(
    connection: psycopg.Connection[Any], claim: Callable[..., list[Claimed]]
) -> None:
    def updates() -> tuple[int, int]:
        # Counters of other backends arrive when those are idle; our own at once.
        connection.execute("SELECT pg_stat_force_next_flush()")
        row = connection.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'jobs_job'"
        ).fetchone()
        assert row is not None
        return row[0], row[1]

    def share() -> float:
        enqueue_many(tasks.noop, [()] * 3000)
        before, claimed = updates(), 0
        while jobs := claim(200):
            for job in jobs:
                job.started_at = job.finished_at = job.now()
            lifecycle.record(connection, [Ended(job, Succeeded("1")) for job in jobs])
            claimed += len(jobs)
        after = updates()
        assert claimed == 3000
        assert after[0] - before[0] == 6000
        # Claims can never be: their index must lose the row. Finishes must.
        return (after[1] - before[1]) / 3000

    # Autovacuum's snapshot may keep dead rows in the way for a moment: not for three times.
    assert max(share() for _ in range(3)) >= 0.8


def parameters(limit: int) -> dict[str, dict[str, Any]]:
    """The statements of the hot path, each with what it is given."""
    many = [ids.uuid7() for _ in range(limit)]
    return {
        "claim": {
            "queues": ["default"],
            "priorities": [0],
            "marks": "{0}",
            "ids": [START.id],
            "limit": limit,
            "set_aside": "{}",
            "claim": ids.uuid7(),
            "worker": "w",
            "worker_id": ids.uuid7(),
            "runner": ids.uuid7(),
        },
        "look": {},
        "glance": {"queues": ["default"], "priorities": [0], "since": "{0}"},
        "succeed": {
            "ids": many,
            "claims": many,
            "results": [None] * limit,
            "started": [0] * limit,
            "finished": [0] * limit,
        },
        "settle": {
            "ids": many,
            "claims": many,
            **{name: ["queued"] * limit for name in ("states", "reasons", "outcomes")},
            **{name: [0.0] * limit for name in ("delays", "started", "finished")},
            **{name: [""] * limit for name in ("exceptions", "messages", "tracebacks", "kinds")},
            "failed": [0] * limit,
            "results": [None] * limit,
            "followers": "[]",
            "notify": True,
        },
        "finished": {"after": START.id, "before": ids.uuid7(), "limit": limit},
        "prune": {"ids": many},
        "progress": {
            "ids": many,
            "claims": many,
            "done": [0.0] * limit,
            "total": [0.0] * limit,
            "messages": [""] * limit,
        },
        "rescue": {
            "claim": many[0],
            "note": "",
            "charged": True,
            "started": many,
            "keep_started": False,
            "only": None,
            "exception": "",
            "kind": "",
            "notify": True,
        },
    }


def plan_of(connection: psycopg.Connection[Any], name: str, limit: int, mode: str) -> Any:
    connection.execute(f"SET plan_cache_mode = {mode}")
    cursor = connection.execute(
        "EXPLAIN (FORMAT JSON) " + statement(name),  # type: ignore[operator]
        parameters(limit)[name],
    )
    row = cursor.fetchone()
    assert row is not None
    return row[0]


def scans_of(table: str, plan: Any) -> Iterator[tuple[str, str | None]]:
    """How a plan reads the table: by which kind of scan, and on which index; "all of" where it
    does not look for certain rows."""
    if isinstance(plan, list):
        for part in plan:
            yield from scans_of(table, part)
    elif isinstance(plan, dict):
        if plan.get("Relation Name") == table and plan["Node Type"] != "ModifyTable":
            sought = "Index Cond" in plan or "TID Cond" in plan
            yield (
                plan["Node Type"] if sought else f"all of {plan['Node Type']}",
                plan.get("Index Name"),
            )
        for part in plan.values():
            yield from scans_of(table, part)


KEY, PLACE = ("Index Scan", "jobs_job_pkey"), ("Tid Scan", None)
FIRST = {
    (f"{how}Index {only}Scan", "jobs_job_claim")
    for how in ("", "all of ")
    for only in ("", "Only ")
}
ON_INDEXES = {
    "claim": {("Index Scan", "jobs_job_claim"), KEY},
    # The first of all lanes is sought nowhere: a LIMIT ends it.
    "look": FIRST,
    "glance": FIRST,
    "succeed": {KEY, PLACE},
    "settle": {KEY, PLACE},
    "progress": {KEY, PLACE},
    "rescue": {KEY, PLACE},
    "finished": {KEY},
    "prune": {KEY},
}


@pytest.mark.parametrize("rows", [0, 1_000, 1_000_000])
def test_the_hot_path_stays_on_its_indexes(connection: psycopg.Connection[Any], rows: int) -> None:
    connection.execute("ALTER TABLE jobs_job SET (autovacuum_enabled = off)")
    # Statistics of an empty table, with whatever is in it: the worst that can be.
    connection.execute("ANALYZE jobs_job")
    try:
        connection.execute(
            "INSERT INTO jobs_job (task) SELECT 't' FROM generate_series(1, %s)", (rows,)
        )
        assert strays_from_indexes(connection) == []
        connection.execute("ANALYZE jobs_job")
        assert strays_from_indexes(connection) == []
    finally:
        connection.execute("ALTER TABLE jobs_job RESET (autovacuum_enabled)")
        connection.execute("TRUNCATE jobs_job CASCADE")


def strays_from_indexes(connection: psycopg.Connection[Any]) -> list[Any]:
    """The hot path's statements whose plans read the table in any other way."""
    found = []
    for mode in ("force_generic_plan", "force_custom_plan"):
        for limit in (1, 1000):
            for name, expected in ON_INDEXES.items():
                scans = set(scans_of("jobs_job", plan_of(connection, name, limit, mode)))
                if not scans or not scans <= expected:
                    found.append((name, limit, mode, scans))
    return found


def test_a_claim_does_not_walk_over_what_an_open_snapshot_keeps(
    connect: Callable[[], psycopg.Connection[Any]],
    claim_from: Callable[..., Brought],
) -> None:
    connection, reader = connect(), connect()
    enqueue_many(tasks.noop, [()] * 20_000)
    (lane,) = lifecycle.look(connection).first
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    reader.execute("SELECT 1 FROM jobs_worker")
    marks = {lane: START}
    for _ in range(19):
        marks = claim_from(marks, 1000).reached

    def blocks_read(mark: Place) -> int:
        given = parameters(1)["claim"] | {
            "marks": [int(mark.run_at * 1e6 + 0.5)],
            "ids": [mark.id],
            "worker_id": Worker.objects.get().pk,
        }
        with connection.transaction(force_rollback=True):
            row = connection.execute(
                "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement("claim"),  # type: ignore[operator]
                given,
            ).fetchone()
        assert row is not None
        return sum(blocks("jobs_job_claim", row[0]))

    behind, at = blocks_read(START), blocks_read(marks[lane])
    reader.execute("ROLLBACK")

    # Else it reads the index, and the row behind each of its dead entries.
    assert at < 10
    assert behind > 50 * at


def test_a_look_reads_a_row_or_two_for_each_lane(connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        "INSERT INTO jobs_job (task, queue_name, priority) "
        "SELECT 't', 'q' || i % 3, i % 2 FROM generate_series(1, 30000) AS i"
    )

    lanes = lifecycle.look(connection).first
    row = connection.execute(
        "EXPLAIN (ANALYZE, FORMAT JSON) " + statement("look")  # type: ignore[operator]
    ).fetchone()

    assert row is not None
    assert len(lanes) == 6
    assert sum(rows_read("jobs_job", row[0])) <= 3 * len(lanes)


def rows_read(table: str, plan: Any) -> Iterator[float]:
    """What each scan of the table read in all, anywhere in a plan."""
    if isinstance(plan, list):
        for part in plan:
            yield from rows_read(table, part)
    elif isinstance(plan, dict):
        if plan.get("Relation Name") == table:
            yield plan["Actual Rows"] * plan["Actual Loops"]
        for part in plan.values():
            yield from rows_read(table, part)


def blocks(index: str, plan: Any) -> Iterator[int]:
    """How many blocks each scan of the index touched, of the table too."""
    if isinstance(plan, list):
        for part in plan:
            yield from blocks(index, part)
    elif isinstance(plan, dict):
        if plan.get("Index Name") == index:
            yield plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        for part in plan.values():
            yield from blocks(index, part)
