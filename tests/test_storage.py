"""Finishing is a heap-only update, and the claim stays on its index: the two rules of speed."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection as django

from jobs import enqueue_many, ids, lifecycle
from jobs.lifecycle import Claimed, Ended
from jobs.lifecycle.statements import statement
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
    assert len(definitions) == 6
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

    enqueue_many(tasks.noop, [()] * 3000)
    before = updates()
    claimed = 0
    while jobs := claim(200):
        for job in jobs:
            job.started_at = job.finished_at = job.now()
        lifecycle.record(connection, [Ended(job, Succeeded("1")) for job in jobs])
        claimed += len(jobs)
    after = updates()

    assert claimed == 3000
    assert after[0] - before[0] == 6000
    # Claims can never be: their index must lose the row. Finishes must.
    assert (after[1] - before[1]) / 3000 >= 0.8


def plan_of_claim(connection: psycopg.Connection[Any], limit: int, mode: str) -> Any:
    connection.execute(f"SET plan_cache_mode = {mode}")
    cursor = connection.execute(
        "EXPLAIN (FORMAT JSON) " + statement("claim"),  # type: ignore[operator]
        {
            "queues": ["default"],
            "priorities": [0],
            "limit": limit,
            "claim": ids.uuid7(),
            "worker": "w",
            "worker_id": ids.uuid7(),
            "runner": ids.uuid7(),
        },
    )
    row = cursor.fetchone()
    assert row is not None
    return row[0]


def scans_of(table: str, plan: Any) -> Iterator[tuple[str, str | None]]:
    """How a plan reads the table."""
    if isinstance(plan, list):
        for part in plan:
            yield from scans_of(table, part)
    elif isinstance(plan, dict):
        if plan.get("Relation Name") == table and plan["Node Type"] != "ModifyTable":
            yield plan["Node Type"], plan.get("Index Name")
        for part in plan.values():
            yield from scans_of(table, part)


@pytest.mark.parametrize("rows", [0, 20_000])
@pytest.mark.parametrize("limit", [1, 1000])
@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
def test_the_claim_stays_on_its_index(
    connection: psycopg.Connection[Any], rows: int, limit: int, mode: str
) -> None:
    # Statistics of an empty table, with whatever is in it: the worst that can be.
    connection.execute("ANALYZE jobs_job")
    connection.execute(
        "INSERT INTO jobs_job (task) SELECT 't' FROM generate_series(1, %s)", (rows,)
    )

    plan = plan_of_claim(connection, limit, mode)

    scans = set(scans_of("jobs_job", plan))
    assert scans == {("Index Scan", "jobs_job_claim"), ("Index Scan", "jobs_job_pkey")}


def test_a_look_reads_a_row_or_two_for_each_lane(connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        "INSERT INTO jobs_job (task, queue_name, priority) "
        "SELECT 't', 'q' || i % 3, i % 2 FROM generate_series(1, 30000) AS i"
    )

    lanes = lifecycle.look(connection)
    row = connection.execute(
        "EXPLAIN (ANALYZE, FORMAT JSON) " + statement("lanes")  # type: ignore[operator]
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
