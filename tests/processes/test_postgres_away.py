"""A PostgreSQL of the test's own that crashes, refuses, and comes back; a network that is cut."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.eventually import eventually
from tests.own_server import JOB, ROOT, Own, cpu_seconds


def test_a_crash_of_postgresql_costs_no_job_and_no_process(own: Own) -> None:
    worker = own.start("--processes", "1", "--beat", CHAOS_TICKS="1")
    job = own.enqueue(2.5)
    eventually(lambda: own.state(job)[0] == "running")

    own.server.stop("immediate")
    with pytest.raises(psycopg.OperationalError):
        own.enqueue(0)
    before = cpu_seconds(worker.pid)
    # It ends meanwhile, and cannot say so; nor does anybody spin.
    time.sleep(4)
    assert cpu_seconds(worker.pid) - before < 1.0
    own.server.ensure_running()

    eventually(lambda: own.state(job) == ("succeeded", 1, 0), within=20)
    after = own.enqueue(0)
    eventually(lambda: own.state(after) == ("succeeded", 1, 0))
    # The beat goes on, too.
    fired = own.ticks()
    eventually(lambda: own.ticks() > fired)
    assert worker.poll() is None


def test_without_a_free_connection_a_worker_waits_and_does_not_spin(own: Own) -> None:
    with own.connect() as connection:
        connection.execute("ALTER SYSTEM SET max_connections = 20")
    own.server.stop()
    own.server.ensure_running()
    worker = own.start("--processes", "1")
    first = own.enqueue(0)
    eventually(lambda: own.state(first)[0] == "succeeded")

    with contextlib.ExitStack() as stack:
        mine = stack.enter_context(own.connect())
        mine.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'jobs %'"
        )
        with pytest.raises(psycopg.OperationalError):  # noqa: PT012
            while True:
                stack.enter_context(own.connect())
        before = cpu_seconds(worker.pid)
        job = mine.execute(JOB, [2, 0]).fetchone()
        time.sleep(3)
        # It kept trying; that it busied a core would be 3 s.
        assert cpu_seconds(worker.pid) - before < 1.0
        assert worker.poll() is None

    assert job is not None
    eventually(lambda: own.state(job[0]) == ("succeeded", 1, 0), within=20)


def test_a_server_that_is_the_primary_no_more_is_left_for_whoever_is(own: Own) -> None:
    """Here the same one again, as behind an address that moves."""
    worker = own.start("--processes", "1", "--beat")
    first = own.enqueue(0)
    eventually(lambda: own.state(first)[0] == "succeeded")

    def connected_at() -> Any:
        with own.connect() as connection:
            return connection.execute(
                "SELECT max(backend_start) FROM pg_stat_activity "
                "WHERE application_name LIKE 'jobs runner%'"
            ).fetchone()

    before = connected_at()
    with own.connect() as connection:
        job = connection.execute(JOB, [2, 0.0]).fetchone()
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("SET default_transaction_read_only = off")
        later = connection.execute(JOB, [3, 0.0]).fetchone()
        eventually(lambda: connected_at() != before)
        connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        connection.execute("SELECT pg_reload_conf()")

    assert job is not None
    assert later is not None
    eventually(lambda: own.state(later[0])[0] == "succeeded", within=20)
    eventually(lambda: own.state(job[0])[0] == "succeeded", within=20)
    assert worker.poll() is None


def test_who_waits_for_a_job_waits_for_postgresql_too(own: Own) -> None:
    own.start("--processes", "1")
    with own.connect() as connection:
        eventually(
            lambda: connection.execute("SELECT count(*) FROM jobs_worker").fetchone() == (1,)
        )
    code = (
        "import django; django.setup()\n"
        "from tests.chaos.tasks import plain\n"
        "job = plain.enqueue(7, 2.0)\n"
        "print('enqueued', flush=True)\n"
        "print(job.wait(timeout=30))\n"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", code],
        env=own.environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert client.stdout is not None
    assert client.stdout.readline() == "enqueued\n"

    own.server.stop("fast")
    time.sleep(1)
    own.server.ensure_running()

    told, complaints = client.communicate(timeout=30)
    assert told == "7\n", complaints
    assert "waiting for" in complaints or complaints == ""


needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None,
    reason="network namespaces need root and iproute2",
)


@contextlib.contextmanager
def network() -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """A namespace beside this one: (how to run a command in it, cut the cable, mend it)."""
    name = f"jobs{os.getpid()}"
    here, there = f"jh{os.getpid()}", f"jt{os.getpid()}"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        ip("netns", "add", name)
        ip("link", "add", here, "type", "veth", "peer", "name", there)
        ip("link", "set", there, "netns", name)
        ip("addr", "add", "10.213.7.1/24", "dev", here)
        ip("link", "set", here, "up")
        ip("netns", "exec", name, "ip", "addr", "add", "10.213.7.2/24", "dev", there)
        ip("netns", "exec", name, "ip", "link", "set", there, "up")
        ip("netns", "exec", name, "ip", "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    inside = ("netns", "exec", name, "ip")

    def cut() -> None:
        # All packets go to a card that nobody has: they vanish, and nobody is told.
        nobody = ("lladdr", "02:00:00:00:00:99", "nud", "permanent")
        ip("neigh", "replace", "10.213.7.2", "dev", here, *nobody)
        ip(*inside, "neigh", "replace", "10.213.7.1", "dev", there, *nobody)

    def mend() -> None:
        ip("neigh", "del", "10.213.7.2", "dev", here)
        ip(*inside, "neigh", "del", "10.213.7.1", "dev", there)

    try:
        yield name, cut, mend
    finally:
        ip("netns", "delete", name)


@needs_namespaces
def test_a_network_that_drops_everything_is_noticed_and_its_jobs_are_rescued(own: Own) -> None:
    with network() as (name, cut, mend):
        with own.connect() as connection:
            connection.execute("ALTER SYSTEM SET listen_addresses = '10.213.7.1'")
        with (own.server.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.213.7.0/24 trust\n")
        own.server.stop()
        own.server.ensure_running()
        far = subprocess.Popen(
            ["ip", "netns", "exec", name, *own.command("runworker", "--processes", "1")],
            env=own.environment | {"CHAOS_HOST": "10.213.7.1", "CHAOS_DEAF": "2"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            job = own.enqueue(5.0)
            eventually(lambda: own.state(job)[0] == "running")
            cut()
            own.start("--processes", "1")
            # Another worker takes it after the heartbeat's timeout, and ends it.
            eventually(lambda: own.state(job)[1] == 2, within=30)
            eventually(lambda: own.state(job)[0] == "succeeded", within=30)
            mend()
            # The first one comes back: its end is refused, and it goes on with other jobs.
            with own.connect() as connection:
                eventually(
                    lambda: (
                        connection.execute("SELECT count(*) FROM jobs_worker").fetchone() == (2,)
                    ),
                    within=30,
                )
            assert own.state(job) == ("succeeded", 2, 1)
            assert far.poll() is None
        finally:
            far.terminate()
            told, _ = far.communicate(timeout=20)
            print(told)
        assert "was silent for too long" in told or "taken over" in told, told
