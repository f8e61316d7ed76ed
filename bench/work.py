"""What every queue runs: nothing, a nap, and a ping that tells when it started."""

from __future__ import annotations

import asyncio
import os
import socket
import time

NAP = 0.1


def noop() -> None:
    pass


def nap() -> None:
    time.sleep(NAP)


async def async_nap() -> None:
    await asyncio.sleep(NAP)


def ping() -> None:
    """Tell the clock that all processes of a machine share to whoever measures."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        port = int(os.environ["BENCH_PING_PORT"])
        out.sendto(str(time.monotonic_ns()).encode(), ("127.0.0.1", port))
