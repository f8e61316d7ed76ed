"""Fixtures: connections as workers have them, and workers themselves."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection as django_connection
from django.db import connections

from jobs import ids, lifecycle
from jobs.lifecycle import START, Brought, Claimed, Lane, Place
from jobs.worker import Options, presence
from tests.eventually import eventually
from tests.one_runner import OneRunner
from tests.own_server import Own
from tests.workers import WorkerProcess

pytest_plugins = ["jobs.pytest_plugin"]


@pytest.fixture
def alone(transactional_db: None) -> Iterator[None]:
    """Leave the database once nobody else is in it: the statement of a process that was killed
    goes on in its backend, and would meet Django's TRUNCATE in a deadlock."""
    yield
    others = (
        "SELECT pid, application_name, query FROM pg_stat_activity"
        " WHERE datname = ANY (%s) AND pid <> ALL (%s) AND backend_type = 'client backend'"
    )
    names = [str(one.settings_dict["NAME"]) for one in connections.all()]

    def left() -> bool:
        with django_connection.cursor() as cursor:
            opened = [one.connection for one in connections.all(initialized_only=True)]
            own = [one.info.backend_pid for one in opened if one is not None and not one.closed]
            cursor.execute(others, [names, own])
            rows = cursor.fetchall()
        assert not rows or time.monotonic() < deadline, rows
        return not rows

    deadline = time.monotonic() + 10
    eventually(left)


@pytest.fixture
def connect(alone: None) -> Iterator[Callable[[], psycopg.Connection[Any]]]:
    """Open connections like a worker's, closed with the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(lifecycle.connect("jobs test"))


@pytest.fixture
def connection(connect: Callable[[], psycopg.Connection[Any]]) -> psycopg.Connection[Any]:
    return connect()


@pytest.fixture
def claim_from(connection: psycopg.Connection[Any]) -> Callable[..., Brought]:
    """Claim as a runner does, from marks on: claim_from({lane: place}, limit)."""
    worker_id = ids.uuid7()
    presence.register(connection, worker_id, Options(name="test"), [])

    def claim(
        marks: dict[Lane, Place],
        limit: int = 1,
        *,
        on: psycopg.Connection[Any] | None = None,
        runner: UUID | None = None,
    ) -> Brought:
        reply = lifecycle.claim(
            on or connection,
            marks,
            limit,
            claim_id=ids.uuid7(),
            worker="test/1",
            worker_id=worker_id,
            runner=runner or ids.uuid7(),
        )
        return reply.read()

    return claim


@pytest.fixture
def claim(
    connection: psycopg.Connection[Any], claim_from: Callable[..., Brought]
) -> Callable[..., list[Claimed]]:
    """Claim whatever is due: claim(limit=1)."""

    def claim(
        limit: int = 1, *, on: psycopg.Connection[Any] | None = None, runner: UUID | None = None
    ) -> list[Claimed]:
        lanes = list(lifecycle.look(on or connection).first) or [Lane("default", 0)]
        return claim_from(dict.fromkeys(lanes, START), limit, on=on, runner=runner).jobs

    return claim


@pytest.fixture
def start_worker(alone: None) -> Iterator[Callable[..., WorkerProcess]]:
    """Start real workers: start_worker("--processes", "1"); killed with the test."""
    with ExitStack() as stack:

        def start(*arguments: str, command: str = "runworker", **others: Any) -> WorkerProcess:
            return stack.enter_context(WorkerProcess(command, *arguments, **others))

        yield start


@pytest.fixture
def one_runner(alone: None) -> Iterator[Callable[..., OneRunner]]:
    made: list[OneRunner] = []

    def make(**options: Any) -> OneRunner:
        made.append(OneRunner(**options))
        return made[-1]

    yield make
    for runner in made:
        runner.close()


@pytest.fixture
def own() -> Iterator[Own]:
    # Not pytest's own folder: each session that starts closes that to other users, and as root
    # the server is one.
    with tempfile.TemporaryDirectory() as folder:
        made = Own(Path(folder))
        try:
            yield made
        finally:
            made.close()
