"""The site's processes, started and stopped together, for the commands demo and serve."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command

MANAGE = Path(settings.BASE_DIR) / "manage.py"


def prepare() -> None:
    """Tables, and in DEBUG somebody who can log in: admin, with the password admin."""
    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    if settings.DEBUG and not users.filter(username="admin").exists():
        users.create_superuser("admin", "admin@example.com", "admin")


def free_port(wished: int) -> int:
    """The wished port, or any other when it is taken."""
    for port in (wished, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise RuntimeError("no port is free")


@contextlib.contextmanager
def running(port: int, *, quiet: bool) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Site, worker and beat, until the end of the block; then stopped as their users would."""
    environment = {**os.environ, "SITE_URL": f"http://127.0.0.1:{port}"}
    commands = [
        ["runserver", "--noreload", f"127.0.0.1:{port}"],
        ["runworker"],
        ["runbeat"],
    ]
    output = subprocess.DEVNULL if quiet else None
    processes = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, str(MANAGE), *command],
            env=environment,
            stdout=output,
            stderr=output,
            # Ctrl-C is for whoever started them all, who then stops each.
            start_new_session=True,
        )
        for command in commands
    ]
    # Told to stop is stopped as with Ctrl-C: nothing that was started here stays behind.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _wait_for_site(port, processes[0])
        yield processes
    finally:
        signal.signal(signal.SIGTERM, before)
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(timeout=60)


def _wait_for_site(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            return
        time.sleep(0.05)
    raise RuntimeError(
        f"The site did not start on port {port}; try `manage.py runserver` to see why."
    )
