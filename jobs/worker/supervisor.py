"""The supervisor: starts runners, says that they live, gives back what the dead ones held.

It runs no user code and has one thread, so nothing that a task does can keep it from its
heartbeat, and forking is safe at any time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any
from uuid import UUID

import psycopg

from jobs import conf, ids, lifecycle

from . import connections, presence, runner
from .bell import Bell, Call
from .board import Board
from .console import Console
from .options import Identity, Options
from .rescuer import Rescuer

logger = logging.getLogger("jobs")

# The grace period ran out, and runners had to be killed with jobs in them.
EXIT_KILLED = 1
# A runner that dies at once is started again this late, in seconds, lest it busy the machine.
_RESTART_PAUSE = 1.0
# The others are woken so much later than the first, in seconds.
_WAKE_PAUSE = 0.003
# While jobs stand in line, it is seen so often whether their runner is stuck, in seconds.
_LOOK_AT_LINES = 0.25


@dataclass(slots=True)
class Child:
    """A forked process: a runner, or the beat (which claims nothing)."""

    number: int
    pid: int
    bell: Bell
    identity: Identity
    board: Board
    started_at: float
    is_beat: bool = False


class Supervisor:
    """One `runworker`. `serve_beat` is what the beat child runs, if there is to be one."""

    def __init__(
        self,
        options: Options,
        console: Console,
        serve_beat: Callable[[Bell, int], None] | None = None,
    ) -> None:
        self._options = options
        self._console = console
        self._serve_beat = serve_beat
        self._settings = conf.settings()
        self._id = ids.uuid7()
        self._children: dict[int, Child] = {}
        self._restart_at: dict[int, float] = {}
        self._control: psycopg.Connection[Any] | None = None
        self._listener: psycopg.Connection[Any] | None = None
        self._connected_at = 0.0
        self._connect_at = 0.0
        self._failures = 0
        self._registered = False
        # Runners that wait for the worker to be registered anew.
        self._to_start: list[int] = []
        self._beat_at = 0.0
        # When the other runners are to be woken, too.
        self._wake_at: float | None = None
        self._signals = 0
        self._signals_seen = 0
        self._kill_at: float | None = None
        self._killed = False
        # A burst has nothing left to do.
        self._is_done = False
        self._rescuer = Rescuer(console, self._wake_runners)

    def run(self) -> int:
        """Until told to stop, or in a burst until nothing is ready; the exit code."""
        connections.close_for_forks()
        self._lifeline, self._lifeline_end = os.pipe()
        with contextlib.ExitStack() as stack:
            stack.callback(self._let_go)
            wakeup = stack.enter_context(self._listening_to_signals())
            self._connect(patiently=False)
            self._register()
            self._console.begin(self._options)
            for number in range(1, self._options.processes + 1):
                self._fork(number)
            if self._serve_beat is not None:
                self._fork(0, is_beat=True)
            while not self._is_over():
                self._round(wakeup)
            self._end()
        return EXIT_KILLED if self._killed else 0

    def _round(self, wakeup: int) -> None:
        self._wait(wakeup)
        self._wake_others()
        self._heed_signals()
        self._reap()
        self._start_again()
        with contextlib.suppress(psycopg.Error):
            self._connect()
        if time.monotonic() >= self._beat_at:
            self._heartbeat()
        self._free_stuck()
        self._console.pace(self._counters())

    def _is_over(self) -> bool:
        to_come = self._restart_at or self._to_start
        if self._options.burst and not (self._runners or to_come or self._is_done):
            # The beat, if there is one, is told to stop as by a signal.
            self._is_done = True
            self._tell_to_stop()
        return self._is_ending and not self._children

    def _tell_to_stop(self) -> None:
        self._restart_at.clear()
        self._to_start.clear()
        self._kill_at = time.monotonic() + self._options.grace_period.total_seconds()
        for child in self._children.values():
            child.bell.ring(Call.STOP)

    # Signals and waiting.

    @property
    def _stopping(self) -> bool:
        return self._signals > 0

    @property
    def _is_ending(self) -> bool:
        return self._stopping or self._is_done

    @contextlib.contextmanager
    def _listening_to_signals(self) -> Iterator[int]:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._signals += 1

    def _heed_signals(self) -> None:
        """First: stop gently. Second, or the end of the grace period: at once."""
        if self._signals == self._signals_seen:
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill_at = None
                self._kill("the grace period is over")
            return
        self._signals_seen = self._signals
        if self._signals == 1:
            self._console.stopping(self._options)
            self._tell_to_stop()
            self._heartbeat()
        else:
            self._tell_to_stop()
            self._kill_at = None
            self._kill("told twice to stop")

    def _kill(self, why: str) -> None:
        """Kill the runners; what they held is given back once they are really gone."""
        for child in self._children.values():
            self._killed = self._killed or not child.is_beat
            os.kill(child.pid, signal.SIGKILL)
        if self._killed:
            self._console.say(f"{why}: runners killed, their jobs are given back")

    def _wait(self, wakeup: int) -> None:
        now = time.monotonic()
        moments = [self._beat_at, *self._restart_at.values()]
        for moment in (self._kill_at, self._wake_at):
            if moment is not None:
                moments.append(moment)
        longest = _LOOK_AT_LINES if any(child.board.waiting for child in self._runners) else 1.0
        timeout = min(max(0.0, min(moments) - now), longest)
        listened: list[Any] = [wakeup]
        if self._listener is not None:
            listened.append(self._listener)
        readable, _, _ = select.select(listened, [], [], timeout)
        if wakeup in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(wakeup, 4096)
        if self._listener in readable:
            self._hear()

    def _hear(self) -> None:
        """Somebody enqueued while a runner slept: wake those that serve the queue."""
        assert self._listener is not None
        try:
            heard = {notify.payload for notify in self._listener.notifies(timeout=0)}
        except psycopg.Error as error:
            self._disconnect(error)
            return
        if any(self._options.serves(queue_name) for queue_name in heard):
            self._wake_runners()

    # Children.

    def _fork(self, number: int, *, is_beat: bool = False) -> None:
        name = f"{self._options.name}/{number}"
        identity = Identity(self._id, name)
        child = Child(number, 0, Bell(), identity, Board(), time.monotonic(), is_beat)
        _flush()
        child.pid = os.fork()
        if child.pid == 0:
            self._be(child)
        self._children[child.pid] = child

    def _be(self, child: Child) -> None:
        """In the child: let go of everything that is the parent's, run, and never return."""
        code = runner.EXIT_BROKEN
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.close(self._lifeline_end)
            own = [c for c in (self._control, self._listener) if c is not None and not c.closed]
            connections.forget_all(own)
            for sibling in self._children.values():
                sibling.bell.close()
            if child.is_beat and self._serve_beat is not None:
                self._serve_beat(child.bell, self._lifeline)
            else:
                runner.main(self._options, child.identity, child.board, child.bell, self._lifeline)
            code = 0
        except BaseException:
            logger.exception("a child of worker %s broke", self._options.name)
        finally:
            try:
                _flush()
            finally:
                # Whatever happens: this is not the supervisor.
                os._exit(code)

    def _reap(self) -> None:
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._bury_child(self._children.pop(pid), os.waitstatus_to_exitcode(status))

    def _bury_child(self, child: Child, code: int) -> None:
        child.bell.close()
        self._console.add(child.board.counters())
        if child.board.has_left or (child.is_beat and code == 0):
            if not (self._is_ending or self._options.burst):
                self._restart_at[child.number] = time.monotonic()
            return
        how = _how_it_died(code)
        what = "beat" if child.is_beat else f"runner {child.identity.name}"
        if not self._is_ending:
            logger.error("%s (process %s) %s; starting another", what, child.pid, how)
            soon = time.monotonic() - child.started_at < _RESTART_PAUSE
            self._restart_at[child.number] = time.monotonic() + (_RESTART_PAUSE if soon else 0.0)
        if not child.is_beat:
            # Killed by us at the end of the grace period: given back, and nobody's loss.
            note = f"{what}, process {child.pid}, {how}"
            self._rescuer.died(child.identity.runner, note, child.board, charged=not self._killed)
            with contextlib.suppress(psycopg.Error):
                self._rescue()

    def _start_again(self) -> None:
        now = time.monotonic()
        if self._is_ending:
            return
        for number, moment in list(self._restart_at.items()):
            if moment <= now:
                del self._restart_at[number]
                self._fork(number, is_beat=number == 0)

    # The database.

    def _connect(self, *, patiently: bool = True) -> None:
        """Both connections, if they are not there; `patiently`: not before it is time to try."""
        if self._control is not None or (patiently and time.monotonic() < self._connect_at):
            return
        try:
            self._control = lifecycle.connect(f"jobs worker {self._options.name}")
            if self._settings.listen:
                self._listener = lifecycle.connect(
                    f"jobs listener {self._options.name}", pinned=False
                )
                self._listener.execute("LISTEN jobs")
        except psycopg.Error as error:
            self._disconnect(error)
            raise
        if self._failures:
            logger.warning("worker %s is connected again", self._options.name)
        self._failures = 0
        self._connected_at = time.monotonic()
        self._beat_at = 0.0

    def _disconnect(self, error: psycopg.Error) -> None:
        self._failures += 1
        if self._failures == 1 or self._failures % 20 == 0:
            logger.warning("worker %s: %s", self._options.name, str(error).strip())
        for connection in (self._control, self._listener):
            if connection is not None:
                connection.close()
        self._control = self._listener = None
        pause = min(5.0, 0.05 * 2.0 ** min(self._failures, 8))
        self._connect_at = time.monotonic() + pause * (0.5 + random.random())  # noqa: S311

    def _register(self) -> None:
        """Insert the worker's row under a new id; its runners start once it stands."""
        assert self._control is not None
        self._registered = False
        self._id = ids.uuid7()
        presence.register(self._control, self._id, self._options, [])
        self._registered = True
        if not self._is_ending:
            self._restart_at |= dict.fromkeys(self._to_start, 0.0)
        self._to_start.clear()

    def _heartbeat(self) -> None:
        interval = self._settings.heartbeat_interval.total_seconds()
        self._beat_at = time.monotonic() + (interval if self._control is not None else 0.25)
        if self._control is None:
            return
        try:
            if not self._registered:
                self._register()
            if not presence.heartbeat(
                self._control, self._id, self._live(), stopping=self._stopping
            ):
                self._begin_anew()
                return
            self._rescue()
        except psycopg.Error as error:
            if lifecycle.is_gone(error) or self._control.closed:
                self._disconnect(error)
            else:
                logger.warning("worker %s: %s", self._options.name, str(error).strip())

    def _live(self) -> list[UUID]:
        return [child.identity.runner for child in self._runners]

    @property
    def _runners(self) -> list[Child]:
        return [child for child in self._children.values() if not child.is_beat]

    def _rescue(self) -> None:
        if self._control is not None:
            self._rescuer.rescue(
                self._control, self._id, self._live(), connected_at=self._connected_at
            )

    def _free_stuck(self) -> None:
        """A job that holds the interpreter's lock keeps its runner from giving back."""
        self._rescuer.round()
        if self._control is None:
            return
        try:
            for child in self._runners:
                self._rescuer.free(self._control, child.identity.runner, child.board)
        except psycopg.Error as error:
            if lifecycle.is_gone(error) or self._control.closed:
                self._disconnect(error)
            else:
                logger.warning("worker %s: %s", self._options.name, str(error).strip())

    def _wake_runners(self) -> None:
        """The one with the least to do, and the others a little later: all at once, they would
        hold each other up over what most often is a single job."""
        if self._wake_at is None:
            first = min(self._runners, key=lambda child: child.board.in_hand, default=None)
            if first is not None:
                first.bell.ring()
            self._wake_at = time.monotonic() + _WAKE_PAUSE

    def _wake_others(self) -> None:
        if self._wake_at is not None and time.monotonic() >= self._wake_at:
            self._wake_at = None
            for child in self._runners:
                child.bell.ring()

    def _begin_anew(self) -> None:
        """This worker was taken for dead: its jobs are others' now, and so is its name."""
        logger.error(
            "worker %s was silent for too long and its jobs were given to others; "
            "its runners are killed, and it begins anew",
            self._options.name,
        )
        for child in list(self._children.values()):
            os.kill(child.pid, signal.SIGKILL)
        for pid, child in list(self._children.items()):
            os.waitpid(pid, 0)
            del self._children[pid]
            child.bell.close()
            self._console.add(child.board.counters())
            note = f"worker {self._options.name} was silent for too long"
            self._rescuer.died(child.identity.runner, note, child.board, charged=True)
            self._to_start.append(child.number)
        self._register()

    # The end.

    def _end(self) -> None:
        try:
            self._connect(patiently=False)
            assert self._control is not None
            self._rescue()
            presence.leave(self._control, self._id)
        except psycopg.Error as error:
            logger.warning(
                "worker %s could not say good-bye (%s); others will find out",
                self._options.name,
                str(error).strip(),
            )
        self._console.end(self._counters())

    def _let_go(self) -> None:
        for connection in (self._control, self._listener):
            if connection is not None:
                connection.close()
        os.close(self._lifeline)
        os.close(self._lifeline_end)

    def _counters(self) -> dict[str, int]:
        totals: dict[str, int] = {}
        for child in self._children.values():
            for name, count in child.board.counters().items():
                totals[name] = totals.get(name, 0) + count
        return totals


def _flush() -> None:
    """What is buffered would be written by each child again."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _how_it_died(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
