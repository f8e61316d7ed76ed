"""Refuse random rows of random tables with random SQLSTATEs while jobs run.

    python -m tests.fuzz [--minutes 5] [--seed 7]

Triggers, constraints and revoked rights come and go; each refuses some rows for some seconds. Jobs
that no refusal is about must go on, and once all is lifted every job must end. Ends with exit code
1 and a list when a promise was broken.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from tests.own_server import Own

# Every class that PL/pgSQL may raise; those of lost connections and deadlocks among them.
SQLSTATES = ("P0001", "42501", "23514", "23503", "23505", "22023", "22P02", "40001", "40P01",
             "55P03", "57014", "57P01", "08006", "53100", "25006", "0A000", "26000", "XX000",
             "58030", "54000", "2F003", "42P01")  # fmt: skip
# Tables, events, and the column that distinguishes the rows.
PLACES = (
    ("jobs_job", "UPDATE", "id"), ("jobs_job", "UPDATE", "id"), ("jobs_job", "INSERT", "task"),
    ("jobs_attempt", "INSERT", "job_id"), ("jobs_claim", "INSERT", "id"),
    ("jobs_claim", "DELETE", "id"), ("jobs_log", "INSERT OR UPDATE", "job_id"),
    ("jobs_statistic", "INSERT OR UPDATE", "task"), ("jobs_queue", "INSERT", "name"),
    ("jobs_refusal", "INSERT OR UPDATE", "key"), ("jobs_schedule", "UPDATE", "name"),
    ("jobs_worker", "UPDATE", "id"), ("jobs_dead_worker", "INSERT", "id"),
)  # fmt: skip
RIGHTS = (
    ("INSERT", "jobs_attempt"), ("INSERT, UPDATE", "jobs_log"), ("INSERT", "jobs_refusal"),
    ("INSERT, UPDATE", "jobs_statistic"), ("INSERT", "jobs_queue"),
)  # fmt: skip
# Rows whose fate is known: no refusal is about them.
_SPARED = "spared"
_ROLE = """
CREATE ROLE site LOGIN;
GRANT USAGE ON SCHEMA public TO site;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO site;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO site;
CREATE FUNCTION public.share_of(value text) RETURNS int LANGUAGE sql IMMUTABLE AS
    $$ SELECT ('x' || left(md5(value), 4))::bit(16)::int % 100 $$
"""
_TRIGGER = """
CREATE FUNCTION public.{name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF {condition} THEN
        RAISE EXCEPTION 'refused by the fuzzer' USING ERRCODE = '{sqlstate}';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION public.{name}()
"""
_JOBS = """
INSERT INTO jobs_job (id, task, arguments, queue_name)
SELECT
    id, 'tests.chaos.tasks.' || kind, jsonb_build_object(
        'args', jsonb_build_array(number, 0.005::float8), 'kwargs', '{}'::jsonb
    ),
    queue_name
FROM unnest(%(ids)s::uuid[], %(kinds)s::text[], %(numbers)s::int[], %(queues)s::text[])
    AS job (id, kind, number, queue_name)
"""
# From enqueuing to its end, of 99 in 100 jobs that no refusal is about, in seconds.
_LONGEST = 2.0
# Of a hundred jobs.
KINDS = {"plain": 60, "asynchronous": 10, "flaky": 20, "atomic": 10}


class Fuzz:
    def __init__(self, own: Own, seed: int) -> None:
        self.own = own
        self.draw = random.Random(seed)
        self.names = 0
        self.numbers = 0
        self.spared: list[Any] = []
        self.counts: Counter[str] = Counter()
        # What lifts each refusal, and when.
        self.lifts: list[tuple[float, Callable[[psycopg.Connection[Any]], object]]] = []

    def refuse(self, connection: psycopg.Connection[Any]) -> None:
        kind = self.draw.choices(["trigger", "right", "constraint"], weights=[8, 1, 1])[0]
        until = time.monotonic() + self.draw.uniform(1, 6)
        self.names += 1
        name = f"fuzz_{self.names}"
        self.counts[kind] += 1
        if kind == "right":
            rights, table = self.draw.choice(RIGHTS)
            execute(connection, f"REVOKE {rights} ON {table} FROM site")
            self.lifts.append(
                (until, lambda one: execute(one, f"GRANT {rights} ON {table} TO site"))
            )
            return
        if kind == "constraint":
            state = self.draw.choice(["succeeded", "failed", "running"])
            share = self.draw.randrange(80)
            check = (
                f"state <> '{state}' OR task LIKE '%.{_SPARED}' OR queue_name = '{_SPARED}' OR "
                f"share_of(id::text) NOT BETWEEN {share} AND {share + 15}"
            )
            execute(
                connection, f"ALTER TABLE jobs_job ADD CONSTRAINT {name} CHECK ({check}) NOT VALID"
            )
            self.lifts.append(
                (until, lambda one: execute(one, f"ALTER TABLE jobs_job DROP CONSTRAINT {name}"))
            )
            return
        table, event, column = self.draw.choice(PLACES)
        share = self.draw.randrange(80)
        row = "OLD" if event == "DELETE" else "NEW"
        condition = f"share_of({row}.{column}::text) BETWEEN {share} AND {share + 15}"
        if table == "jobs_job":
            condition += f" AND {row}.queue_name <> '{_SPARED}'"
            if event == "UPDATE" and self.draw.random() < 0.5:
                condition += " AND OLD.state = 'running'"
        if table == "jobs_attempt":
            condition += (
                " AND EXISTS (SELECT FROM jobs_job WHERE id = NEW.job_id"
                f" AND queue_name <> '{_SPARED}')"
            )
        sqlstate = self.draw.choice(SQLSTATES)
        self.counts[table] += 1
        statement = _TRIGGER.format(
            name=name, condition=condition, sqlstate=sqlstate, event=event, table=table
        )
        execute(connection, statement)
        self.lifts.append(
            (until, lambda one: execute(one, f"DROP FUNCTION public.{name}() CASCADE"))
        )

    def lift(self, connection: psycopg.Connection[Any], *, everything: bool = False) -> None:
        now = time.monotonic()
        due = [one for one in self.lifts if everything or one[0] <= now]
        self.lifts = [one for one in self.lifts if one not in due]
        for _, undo in due:
            undo(connection)

    def enqueue(self, connection: psycopg.Connection[Any]) -> None:
        from jobs.ids import uuid7s

        made = uuid7s(12)
        kinds = self.draw.choices(list(KINDS), weights=list(KINDS.values()), k=12)
        queues = [_SPARED if i % 3 == 0 else "default" for i in range(12)]
        numbers = list(range(self.numbers, self.numbers + 12))
        self.numbers += 12
        for id_, queue_name, i in zip(made, queues, range(12), strict=True):
            if queue_name == _SPARED:
                kinds[i] = "plain"
                self.spared.append(id_)
        parameters = {"ids": made, "kinds": kinds, "numbers": numbers, "queues": queues}
        try:
            connection.execute(_JOBS, parameters)
        except psycopg.Error:
            # A refusal of the insert itself is its caller's.
            self.spared = [id_ for id_ in self.spared if id_ not in made]


def execute(connection: psycopg.Connection[Any], statement: str) -> None:
    # A lock that workers hold for a moment is waited for.
    connection.execute(statement)  # type: ignore[arg-type]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(10_000) if options.seed is None else options.seed
    print(f"seed {seed}, {options.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        own = Own(Path(folder))
        try:
            return run(own, seed, options.minutes * 60)
        finally:
            own.close()


def run(own: Own, seed: int, seconds: float) -> int:
    fuzz = Fuzz(own, seed)
    with own.connect() as connection:
        # As in tests.chaos.tasks, which wants Django.
        execute(connection, "CREATE TABLE chaos_ledger (number int NOT NULL)")
        execute(connection, _ROLE)
    own.environment |= {"CHAOS_USER": "site", "CHAOS_TICKS": "1", "CHAOS_TIMEOUT": "6"}
    for i in range(2):
        own.start("--processes", "2", "--name", f"w{i}", "--beat")
    began = time.monotonic()
    reported_at = began
    with own.connect() as connection:
        connection.execute("SET lock_timeout = '20s'")
        while time.monotonic() - began < seconds:
            fuzz.lift(connection)
            if len(fuzz.lifts) < 4:
                fuzz.refuse(connection)
            fuzz.enqueue(connection)
            time.sleep(0.2)
            if time.monotonic() - reported_at > 30:
                reported_at = time.monotonic()
                print(
                    f"{reported_at - began:5.0f} s  {fuzz.numbers} jobs, {dict(fuzz.counts)}",
                    flush=True,
                )
        fuzz.lift(connection, everything=True)
        return judge(own, fuzz, connection)


def judge(own: Own, fuzz: Fuzz, connection: psycopg.Connection[Any]) -> int:
    wrong = [*unended(connection), *spared(connection), *wrong_in_log(own, connection)]
    ends = connection.execute(
        "SELECT state, coalesce(reason, ''), count(*) FROM jobs_job GROUP BY 1, 2 ORDER BY 3 DESC"
    ).fetchall()
    print(f"ends: {ends}")
    print(f"refusals: {dict(fuzz.counts)}")
    for line in wrong:
        print(f"WRONG: {line}")
    if wrong:
        print((own.folder / "log.txt").read_text(errors="replace")[-6000:])
    refusals = sum(fuzz.counts.values())
    print(f"{fuzz.numbers:,} jobs, {refusals} refusals: {len(wrong) or 'no'} promises broken")
    return 1 if wrong else 0


def unended(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Once all is lifted, every job ends."""
    deadline = time.monotonic() + 150
    left: list[Any] = [("?",)]
    while left and time.monotonic() < deadline:
        left = connection.execute(
            "SELECT state, count(*) FROM jobs_job"
            " WHERE finished_at IS NULL AND task NOT LIKE '%tick' GROUP BY state"
        ).fetchall()
        time.sleep(0.2)
    if left:
        yield f"jobs have not ended after all was lifted: {left}"


def spared(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """What no refusal was about went on."""
    found = connection.execute(
        "SELECT extract(epoch FROM finished_at - enqueued_at)::float8 FROM jobs_job"
        " WHERE queue_name = %s AND finished_at IS NOT NULL",
        [_SPARED],
    )
    took = sorted(row[0] for row in found)
    p50, p99 = statistics.median(took), took[int(len(took) * 0.99)]
    print(f"spared jobs: {len(took):,}; from enqueue to end {p50:.3f} s at p50, {p99:.3f} at p99")
    if p99 > _LONGEST:
        yield f"spared jobs did not go on: {p99:.1f} s at p99, {took[-1]:.1f} at most"
    bad = connection.execute(
        "SELECT state, reason, losses, count(*) FROM jobs_job"
        " WHERE queue_name = %s AND state <> 'succeeded' GROUP BY 1, 2, 3",
        [_SPARED],
    ).fetchall()
    if bad:
        yield f"spared jobs ended otherwise: {bad}"


def wrong_in_log(own: Own, connection: psycopg.Connection[Any]) -> Iterator[str]:
    """No worker was declared dead, no job ran twice at once, and the log quotes no row."""
    if dead := connection.execute("SELECT name FROM jobs_dead_worker").fetchall():
        yield f"living workers were declared dead: {dead}"
    lines = (own.folder / "log").read_text().splitlines()
    if overlaps := [line for line in lines if " overlap " in line]:
        yield f"{len(overlaps)} attempts ran at once: {overlaps[:3]}"
    text = (own.folder / "log.txt").read_text(errors="replace")
    print(f"log: {len(text):,} characters")
    if count := text.count("Traceback (most recent call last)"):
        yield f"the workers' log has {count} tracebacks"
    if '"args"' in text or "Failing row" in text:
        yield "the workers' log quotes rows"


if __name__ == "__main__":
    sys.exit(main())
