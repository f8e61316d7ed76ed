"""Real `manage.py runworker` and `runbeat` processes on the test's database."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from django.db import connection, connections

from jobs.models import Worker
from tests.eventually import eventually

ROOT = Path(__file__).parent.parent


class WorkerProcess:
    """A process of its own session, so that none of it outlives the test."""

    def __init__(
        self, command: str, *arguments: str, before: Sequence[str] = (), **environment: str
    ) -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*before, sys.executable, str(ROOT / "manage.py"), command, *arguments],
            env=self.environment(**environment),
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @staticmethod
    def environment(**more: str) -> dict[str, str]:
        """In which manage.py works on the test's databases."""
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "JOBS_TEST_DATABASE": str(connection.settings_dict["NAME"]),
            "JOBS_TEST_SECOND": str(connections["second"].settings_dict["NAME"]),
            "PYTHONPATH": str(ROOT),
            **more,
        }

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        self._output.flush()
        self._output.seek(0)
        return self._output.read()

    def runners(self) -> list[int]:
        """The process ids of its children."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in listed.read_text().split()] if listed.exists() else []

    def until_ready(self) -> Self:
        """Wait until its row stands, with its runners in it."""

        def ready() -> bool:
            assert self.process.poll() is None, self.output
            return Worker.objects.filter(pid=self.pid).exclude(runners=[]).exists()

        eventually(ready)
        return self

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, within: float = 20.0) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(timeout=within)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self.output)
        for pid in [*self.runners(), self.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._output.close()
