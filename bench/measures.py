"""What is measured of a queue: each is a function of a peer, run in the peer's own process."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .peer import Lot, Peer
from .processes import family, pss

# Seconds that a worker gets for its jobs, and for each ping.
_PATIENCE, _PING = 300.0, 10.0
_WARM_UP = 50
NAPS, SLOTS = 500, 50


class Failed(RuntimeError):
    """The queue did not do what was asked; told in the table."""


def single(peer: Peer, count: int) -> dict[str, float]:
    """Jobs that one producer enqueues one by one."""
    peer.clear()
    for _ in range(20):
        peer.enqueue_one("noop")
    seconds = _timed(lambda: [peer.enqueue_one("noop") for _ in range(count)])
    peer.clear()
    return {"per_s": count / seconds}


def bulk(peer: Peer, count: int) -> dict[str, float]:
    peer.clear()
    peer.enqueue_many("noop", 100)
    seconds = _timed(lambda: peer.enqueue_many("noop", count))
    peer.clear()
    return {"per_s": count / seconds}


def noop(peer: Peer, processes: int, count: int) -> dict[str, float]:
    """No-op jobs, from the moment that a warm worker gets them to the last one's record.

    The worker is stopped while they are enqueued, so that no peer's pace is its producer's.
    """
    peer.clear()
    with _worker(peer, Lot(processes)) as worker:
        idle = pss(worker.pid)
        # What warmed it up is recorded, too; but not by those that clear away on a restart.
        before = peer.recorded() or 0
        with _stopped(worker.pid):
            peer.enqueue_many("noop", count)
            began = time.monotonic()
        _wait(peer.is_done, "run its jobs")
        seconds = time.monotonic() - began
        after = pss(worker.pid)
        recorded = peer.recorded()
    if recorded is not None and recorded - before != count:
        raise Failed(f"{recorded - before:,} of {count:,} jobs are recorded")
    return {"per_s": count / seconds, "idle_mb": idle, "after_mb": after}


def naps(peer: Peer, *, coroutines: bool) -> dict[str, float]:
    """Jobs that sleep 0.1 s, on fifty slots in two processes."""
    peer.clear()
    work = "async_nap" if coroutines else "nap"
    with _worker(peer, Lot(2, SLOTS, coroutines), work) as worker:
        with _stopped(worker.pid):
            peer.enqueue_many(work, NAPS)
            began = time.monotonic()
        _wait(peer.is_done, "run its jobs")
        seconds = time.monotonic() - began
    return {"per_s": NAPS / seconds}


def latency(peer: Peer, count: int) -> dict[str, Any]:
    """From the call of enqueue to the function's first line, on a worker that is idle."""
    peer.clear()
    taken = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", peer.places.ping_port))
        ear.settimeout(_PING)
        with _worker(peer, Lot(2)) as worker:
            for _ in range(count):
                time.sleep(0.2 + random.random() * 0.1)  # noqa: S311
                began = time.monotonic_ns()
                peer.enqueue_one("ping")
                try:
                    taken.append((int(ear.recv(64)) - began) / 1e6)
                except TimeoutError:
                    raise Failed("a ping was not answered") from None
            idle = pss(worker.pid)
    return {"ms": taken, "idle_mb": idle}


def _timed(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _wait(condition: Callable[[], bool], to: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"it did not {to} within {_PATIENCE:g} s")
        time.sleep(0.01)


@contextmanager
def _worker(peer: Peer, lot: Lot, work: str = "noop") -> Iterator[subprocess.Popen[bytes]]:
    """A worker that has run a few such jobs; killed with everything below it in the end."""
    worker = peer.start(lot)
    try:
        for _ in range(_WARM_UP):
            peer.enqueue_one(work)
        _wait(peer.is_done, "start")
        # Until the last of its processes is up.
        time.sleep(1.0)
        for _ in range(_WARM_UP):
            peer.enqueue_one(work)
        _wait(peer.is_done, "run its first jobs")
        time.sleep(0.3)
        yield worker
    finally:
        pids = family(worker.pid)
        worker.terminate()
        with suppress(subprocess.TimeoutExpired):
            worker.wait(10)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        worker.wait()


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """While every process of the worker stands still."""
    pids = family(pid)
    for one in pids:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in pids:
            os.kill(one, signal.SIGCONT)
