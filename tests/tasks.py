"""Tasks for the tests: small, importable, each for one thing."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import subprocess
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from asgiref.sync import sync_to_async

from jobs import Cancel, Context, Retry, Snooze, current_context, task
from jobs.errors import JobsError

log = logging.getLogger(__name__)


@task
def noop() -> None:
    """Nothing at all."""


@task
def echo(*args: Any, **kwargs: Any) -> list[Any]:
    return [list(args), kwargs]


@task
def add(a: int, b: int = 1) -> int:
    return a + b


def plain(word: str) -> str:
    return word.upper()


@task
def boom(message: str = "boom") -> None:
    raise ValueError(message)


@task
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@task
def holds_the_interpreter(seconds: int) -> None:
    """As a long computation in C does: no other thread of the process runs meanwhile."""
    import ctypes

    ctypes.PyDLL(None).sleep(seconds)


@task
async def async_nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@task(max_attempts=3, backoff=timedelta(0), takes_context=True)
def flaky(context: Context, good_attempt: int) -> int:
    if context.attempt < good_attempt:
        raise ConnectionError(f"attempt {context.attempt}")
    return context.attempt


@task
def asks_to_retry() -> None:
    raise Retry(timedelta(0), "again, please")


@task(takes_context=True)
def snoozes_once(context: Context) -> int:
    if context.attempt == 1:
        raise Snooze(timedelta(0))
    return context.attempt


@task
def gives_up() -> None:
    raise Cancel("not worth it")


@task
def exits() -> None:
    raise SystemExit(3)


@task
def dies() -> None:
    os._exit(9)


@task(max_losses=0)
def dies_at_most_once() -> None:
    os._exit(9)


@task(timeout=timedelta(seconds=0.2))
def too_slow() -> None:
    time.sleep(30)


@task(timeout=timedelta(seconds=0.2))
async def too_slow_async() -> None:
    await asyncio.sleep(30)


@task
def tells_progress(steps: int) -> None:
    context = current_context()
    for step in range(steps):
        context.set_progress(step + 1, steps, f"step {step + 1}")


@task
def unkeepable() -> Any:
    return object()


@task
def naps_in_small_bites(seconds: float) -> None:
    # So that an exception raised in a thread arrives between two of them.
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.005)


@task
def counts_on(seconds: float) -> None:
    """Says how far it is, ten times a second."""
    context = current_context()
    for i in range(int(seconds * 10)):
        context.set_progress(i + 1, seconds * 10, "tenths")
        time.sleep(0.1)


@task
def says_that_it_started(path: str, seconds: float) -> None:
    """A claimed job is not a started one, and only that is charged with a loss."""
    with open(path, "a"):  # noqa: PTH123
        time.sleep(seconds)


@task
def writes_a_line(path: str, line: str, seconds: float = 0) -> None:
    """Appends one line, in one write: who runs it twice is seen."""
    time.sleep(seconds)
    with open(path, "a") as file:  # noqa: PTH123
        file.write(f"{line}\n")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit


@task
def raises_the_unspeakable() -> None:
    raise Unspeakable


@task
def tells_a_surrogate() -> None:
    current_context().set_progress(1, 2, "file \udcff and \x00")
    time.sleep(0.7)


@task
def snoozes_for_a_number() -> None:
    raise Snooze(5)  # type: ignore[arg-type]


@task
def forks_and_its_child_exits() -> int:
    child = os.fork()
    if child == 0:
        raise SystemExit(0)
    return os.waitpid(child, 0)[1]


@task
async def forks_in_a_coroutine() -> int:
    child = os.fork()
    if child == 0:
        raise SystemExit(0)
    return os.waitpid(child, 0)[1]


@task
async def exits_in_a_sub_task() -> None:
    async def sub() -> None:
        raise SystemExit(3)

    await asyncio.gather(sub())


@task
async def stops_the_loop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)


@task
def uses_a_pool_of_processes() -> list[int]:
    import multiprocessing
    import warnings

    # Python warns of forking a process that has threads; that is what is tried here.
    warnings.simplefilter("ignore")
    # Leaving the block terminates the pool's processes by SIGTERM.
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, 2])


@task
def leaves_a_transaction_open() -> None:
    from django.db import transaction

    transaction.atomic().__enter__()


@task(timeout=timedelta(seconds=0.2))
def is_interrupted_in_a_query() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(3)")


@task
def asks_the_database() -> int:
    from django.contrib.auth.models import User

    return User.objects.count()


@task
def asks_for(number: int) -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::int, pg_sleep(0.001)", [number])
        return int(cursor.fetchone()[0])


@task
def closes_its_connection() -> None:
    from django.db import connection

    connection.ensure_connection()
    connection.connection.close()


@task
def ends_its_process_politely() -> None:
    os._exit(0)


@task(max_losses=0)
def at_most_once() -> None:
    """Must never run twice; may be given back as long as it has not started."""


@task(atomic=True)
def atomic_nap(seconds: float, name: str) -> int:
    from django.contrib.auth.models import User

    user = User.objects.create(username=name)
    time.sleep(seconds)
    return user.pk


@task(atomic=True)
def atomic_and_forks(name: str) -> int:
    from django.contrib.auth.models import User

    user = User.objects.create(username=name)
    child = os.fork()
    if child == 0:
        raise SystemExit(0)
    os.waitpid(child, 0)
    return user.pk


@task
def leaves_an_alarm() -> None:
    import signal

    def ring(number: int, frame: Any) -> None:
        raise RuntimeError("an alarm of another job")

    # In a thread slot Python allows no handlers at all.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.05)


@task(queue_name="loop")
async def blocks_the_loop(seconds: float) -> None:
    time.sleep(seconds)


@task(queue_name="loop")
async def on_the_loop() -> None: ...


@task(queue_name="loop")
async def waits_in_an_orm_thread(seconds: float) -> None:
    from asgiref.sync import sync_to_async

    await sync_to_async(time.sleep)(seconds)


@task(timeout=timedelta(seconds=0.2))
def swallows_its_interruption(path: str) -> None:
    Path(path).touch()
    while True:
        try:
            time.sleep(60)
        except JobsError:
            continue


@task(timeout=timedelta(seconds=0.2), max_attempts=2, backoff=timedelta(0), takes_context=True)
def swallows_it_once(context: Context) -> int:
    while context.attempt == 1:
        try:
            time.sleep(60)
        except JobsError:
            continue
    return context.attempt


@task
def computes_for_ever() -> int:
    """In C, without ever letting another thread run."""
    return sum(itertools.repeat(1))


@task
def cleans_up(path: str, seconds: float) -> None:
    try:
        time.sleep(60)
    finally:
        time.sleep(seconds)
        Path(path).touch()


_kept: list[bytes] = []


@task
def leaks(megabytes: int) -> int:
    _kept.append(b"x" * (megabytes * 2**20))
    return os.getpid()


@task
def tells_its_process() -> int:
    return os.getpid()


@task
def changes_its_session() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET search_path = pg_catalog")
        cursor.execute("SET TimeZone = 'Asia/Kathmandu'")


@task
def changes_its_folder() -> None:
    os.chdir("/")


@task
def tells_its_surroundings() -> list[str]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SHOW TimeZone")
        return [Path.cwd().name, cursor.fetchone()[0]]


@task
def leaves_a_process_behind() -> None:
    """A daemon, as some programs make one of themselves: its parent ends at once."""
    subprocess.run(["sh", "-c", "sleep 0.2 &"], check=True)


@task(max_losses=0)
def crashes() -> None:
    import ctypes

    ctypes.string_at(0)


@task(max_losses=0)
def aborts() -> None:
    os.abort()


@task(takes_context=True)
def told_its_tick(context: Context, tick: datetime) -> list[datetime | None]:
    return [tick, context.tick]


@task
def logs(words: str, *, lines: int = 1, and_then: str = "") -> None:
    for i in range(lines):
        log.info("%s %s", words, i + 1)
    log.debug("nobody wants to know")
    if and_then == "fail":
        log.warning("it goes wrong <soon>")
        try:
            raise KeyError("the inner one")
        except KeyError:
            log.exception("with its traceback")
        raise ValueError("it went wrong")
    if and_then == "wait":
        naps_in_small_bites.func(60)
    if and_then == "die":
        # Live: what was said is written before.
        naps_in_small_bites.func(3)
        os._exit(9)


@task
async def logs_asynchronously(words: str) -> None:
    log.info("%s", words)
    await asyncio.sleep(0)
    raise ValueError("it went wrong")


@task
def naps_and_fails(seconds: float) -> None:
    time.sleep(seconds)
    raise ValueError("after a nap")


@task(takes_context=True)
def logs_and_progresses(context: Context) -> None:
    logging.getLogger("tests").warning("about to fail")
    context.set_progress(1, 2)
    raise ValueError("logged and progressed")


@task(takes_context=True)
def progresses_for(context: Context, seconds: float) -> None:
    context.set_progress(1, 2)
    time.sleep(seconds)


@task
def enqueues_one() -> None:
    for _ in range(8):
        noop.enqueue()


@task(atomic=True)
def asks_atomically() -> int:
    return asks_the_database.func()


@task
async def asks_the_database_async() -> int:
    return await sync_to_async(asks_the_database.func)()


@task
def blocks_the_interrupt() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGVTALRM})


@task
def ignores_the_interrupt() -> None:
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)


@task
def takes_all_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGVTALRM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


@task(timeout=timedelta(seconds=0.3))
def naps_under_a_limit() -> None:
    time.sleep(20)


@task
def prints(text: str) -> None:
    print(text)


@task(takes_context=True)
def waits_for_the_stop(context: Context) -> str:
    while not context.is_stopping():
        time.sleep(0.01)
    return "saw it"


@task
def fails_at_first() -> None:
    if current_context().attempt == 1:
        raise ValueError("at first")


if "JOBS_TEST_HEAR_RUNNERS" in os.environ:
    from jobs.signals import runner_started, runner_stopping

    def _hears(word: str, runner: str) -> None:
        print(f"heard: {word} {runner} {os.getpid()}")

    # Receivers are kept weakly.
    hears = [
        lambda runner, **_: _hears("started", runner),
        lambda runner, **_: _hears("stopping", runner),
    ]
    runner_started.connect(hears[0])
    runner_stopping.connect(hears[1])
