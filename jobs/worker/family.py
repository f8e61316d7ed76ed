"""The supervisor's children: forked, rung, reaped.

Only the process's one thread forks, so that no lock is ever held in a child.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from . import connections, runner, stacks
from .bell import Bell, Call
from .board import Board
from .options import Identity, Options
from .remains import IGNORED
from .titles import title

logger = logging.getLogger("jobs")

# The others are woken so much later than the first, in seconds.
_WAKE_PAUSE = 0.003


@dataclass(slots=True)
class Child:
    """A forked process: a runner, or the beat (which claims nothing)."""

    number: int
    identity: Identity
    is_beat: bool = False
    pid: int = 0
    bell: Bell = field(default_factory=Bell)
    board: Board = field(default_factory=Board)
    stacks_file: int = field(default_factory=stacks.new_file)
    started_at: float = field(default_factory=time.monotonic)
    # Told to end, for want of work.
    is_retired: bool = False

    def close(self) -> None:
        """The parent's ends of what they shared."""
        self.bell.close()
        os.close(self.stacks_file)


class Family:
    """`serve_beat` is what the beat child runs; `own` are the parent's own connections."""

    def __init__(
        self,
        options: Options,
        serve_beat: Callable[[Bell, int], None] | None,
        own: Callable[[], list[psycopg.Connection[Any]]],
    ) -> None:
        self._options = options
        self._serve_beat = serve_beat
        self._own = own
        self._children: dict[int, Child] = {}
        # Its other end closes with this process, however that ends.
        self._lifeline, self._lifeline_end = os.pipe()
        # When the runners that were not woken first are to be woken, too.
        self._wake_at: float | None = None

    def __len__(self) -> int:
        return len(self._children)

    @property
    def runners(self) -> list[Child]:
        return [child for child in self._children.values() if not child.is_beat]

    @property
    def live(self) -> list[UUID]:
        return [child.identity.runner for child in self.runners]

    def fork(self, number: int, worker_id: UUID, *, is_beat: bool = False) -> None:
        """OSError: the system has no room for another process."""
        identity = Identity(worker_id, f"{self._options.name}/{number}")
        child = Child(number, identity, is_beat)
        _flush()
        try:
            child.pid = os.fork()
        except OSError:
            child.close()
            raise
        if child.pid == 0:
            self._be(child)
        self._children[child.pid] = child

    def _be(self, child: Child) -> None:
        """In the child: let go of everything that is the parent's, run, and never return."""
        code = runner.EXIT_BROKEN
        try:
            signal.set_wakeup_fd(-1)
            # Until the runner has its own: signals to the supervisor are not for its children.
            for number in IGNORED:
                signal.signal(number, signal.SIG_IGN)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.close(self._lifeline_end)
            connections.forget_all([one for one in self._own() if not one.closed])
            for sibling in self._children.values():
                sibling.close()
            if child.is_beat and self._serve_beat is not None:
                title(f"jobs: beat {self._options.name}")
                self._serve_beat(child.bell, self._lifeline)
            else:
                runner.main(
                    self._options,
                    child.identity,
                    child.board,
                    child.bell,
                    self._lifeline,
                    child.stacks_file,
                )
            code = 0
        except BaseException:
            logger.exception("a child of worker %s broke", self._options.name)
        finally:
            try:
                _flush()
            finally:
                # Whatever happens: this is not the supervisor.
                os._exit(code)

    def reap(self) -> Iterator[tuple[Child, int]]:
        """Those that have ended, each with its exit code; they are no children any more."""
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                child = self._children.pop(pid)
                child.close()
                yield child, os.waitstatus_to_exitcode(status)
        if os.getpid() == 1:
            self._reap_adopted()

    def _reap_adopted(self) -> None:
        """As process 1 of a container: what tasks started and left behind is ours to bury."""
        with contextlib.suppress(ChildProcessError):
            while True:
                # Seen first, and reaped then: a child of our own is not to be lost sight of.
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None or ended.si_pid in self._children:
                    return
                os.waitpid(ended.si_pid, 0)

    def kill(self, child: Child) -> None:
        """It is reaped later."""
        os.kill(child.pid, signal.SIGKILL)

    def kill_all(self) -> list[Child]:
        """Kill and reap every child."""
        killed = list(self._children.values())
        for child in killed:
            self.kill(child)
        for child in killed:
            os.waitpid(child.pid, 0)
            child.close()
        self._children.clear()
        return killed

    def all(self) -> list[Child]:
        return list(self._children.values())

    def tell_to_stop(self) -> None:
        for child in self._children.values():
            child.bell.ring(Call.STOP)

    # Waking the runners.

    def wake(self) -> None:
        """The one with the least to do, and the others a little later: all at once, they would
        hold each other up over what most often is a single job."""
        if self._wake_at is None:
            first = min(self.runners, key=lambda child: child.board.in_hand, default=None)
            if first is not None:
                first.bell.ring()
            self._wake_at = time.monotonic() + _WAKE_PAUSE

    def wake_others(self) -> None:
        """To be called at `wake_at`."""
        if self._wake_at is not None and time.monotonic() >= self._wake_at:
            self._wake_at = None
            for child in self.runners:
                child.bell.ring()

    @property
    def wake_at(self) -> float | None:
        return self._wake_at

    def counters(self) -> dict[str, int]:
        totals: dict[str, int] = {}
        for child in self._children.values():
            for name, count in child.board.counters().items():
                totals[name] = totals.get(name, 0) + count
        return totals

    def close(self) -> None:
        os.close(self._lifeline)
        os.close(self._lifeline_end)


def how_it_died(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _flush() -> None:
    """What is buffered would be written by each child again."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
