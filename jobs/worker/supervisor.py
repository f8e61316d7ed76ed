"""The supervisor: starts runners, says that they live, gives back what the dead ones held.

It runs no user code and has one thread, so nothing that a task does can keep it from its
heartbeat, and forking is safe at any time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import psycopg

from jobs import conf, ids, lifecycle

from . import connections, presence, reload, stacks
from .account import Account
from .autoscale import Autoscale
from .bell import Bell, Call
from .console import Console
from .family import Child, Family, how_it_died
from .keeper import Keeper, keep
from .link import Connection, Link
from .options import Options
from .pruner import Pruner
from .rescuer import Death, Rescuer
from .sweeper import Sweeper
from .tally import Tally
from .titles import title
from .watchdog import Sentence, Watchdog

logger = logging.getLogger("jobs")

# What stops it gently, and at the second time at once (docs/running.md, "Signals"): a terminal that
# is closed, too.
_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SIGNALS = (*_STOP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
# The grace period ran out, and runners had to be killed with jobs in them.
EXIT_KILLED = 1
# A runner that dies at once is started again this late, in seconds, lest it busy the machine.
_RESTART_PAUSE = 1.0
# While jobs stand in line, it is seen so often whether their runner is stuck, in seconds.
_LOOK_AT_LINES = 0.25
# A wait that takes so much longer than it was to was no wait: all of this was stopped.
_SLEPT = 1.0
# What is due is looked at again so much later, in seconds.
_AT_ONCE = 0.05
# Jobs of paused tasks are put off for so long at a time, in seconds.
_PARKING = 0.2
# With none left to be put off, it is looked again so much later, in seconds.
_PARKED = 1.0
# A heartbeat that failed is tried again so much later, in seconds.
_BEAT_AGAIN = 0.25
# With new code at hand, running jobs have so long to finish.
_RELOAD_GRACE = 5.0


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
        self._has_beat = serve_beat is not None
        self._settings = conf.settings()
        self._id = ids.uuid7()
        self._link = Link(options.name)
        self._family = Family(options, serve_beat, lambda: self._link.connections)
        self._account = Account(self._family)
        self._rescuer = Rescuer(self._account.add, self._family.wake, Tally(self._id))
        self._watchdog = Watchdog()
        self._pruner = Pruner()
        self._sweeper = Sweeper()
        self._keeper = Keeper()
        self._autoscale = None
        if options.autoscale is not None:
            retire_after = self._settings.retire_after.total_seconds()
            self._autoscale = Autoscale(*options.autoscale, retire_after)
        self._files = reload.Files() if options.reload else None
        # Files that have changed, and may not compile yet.
        self._changed: set[Path] = set()
        # Whether the last heartbeat heard of tasks that are paused, or were.
        self._has_pauses = False
        self._park_at = 0.0
        self._sentences: dict[int, tuple[Sentence, str]] = {}
        # When each of these numbers is to be started again.
        self._restart_at: dict[int, float] = {}
        # Runners that wait for the worker to be registered anew.
        self._to_start: list[int] = []
        self._registered = False
        self._beat_at = 0.0
        # When a heartbeat was last written.
        self._last_beat_at = 0.0
        self._signals = 0
        self._signals_seen = 0
        self._is_asked_for_stacks = False
        self._kill_at: float | None = None
        self._killed = False
        # While it ended, a runner had to be killed with others' jobs in it.
        self._gave_back = False
        # A burst has nothing left to do, or there is new code.
        self._is_done = False
        self._is_renewed = False

    def run(self) -> int:
        """Until told to stop, or in a burst until nothing is ready; the exit code."""
        title(f"jobs: worker {self._options.name}")
        connections.close_for_forks()
        with contextlib.ExitStack() as stack:
            stack.callback(self._family.close)
            stack.callback(self._link.close)
            wakeup = stack.enter_context(self._listening_to_signals())
            self._link.connect(patiently=False)
            if self._options.burst:
                self._park_all()
            self._register()
            self._console.begin(self._options)
            first = 0 if self._has_beat else 1
            self._restart_at |= dict.fromkeys(range(first, self._options.processes + 1), 0.0)
            self._start_again()
            while not self._is_over():
                self._round(wakeup)
            self._end()
        if self._is_renewed and not self._stopping:
            reload.begin_anew()
        return EXIT_KILLED if self._killed or self._gave_back else 0

    def _round(self, wakeup: int) -> None:
        self._wait(wakeup)
        self._family.wake_others()
        self._heed_signals()
        self._reap()
        self._start_again()
        if self._link.connect():
            self._beat_at = 0.0
        if time.monotonic() >= self._beat_at:
            self._heartbeat()
        self._guard()
        self._scale()
        self._keep_house()
        self._look_for_new_code()
        self._console.pace(self._account.totals())

    def _is_over(self) -> bool:
        to_come = self._restart_at or self._to_start
        if self._options.burst and not (self._family.runners or to_come or self._is_done):
            # The beat, if there is one, is told to stop as by a signal.
            self._is_done = True
            self._tell_to_stop(self._options.grace_period.total_seconds())
        return self._is_ending and not len(self._family)

    def _tell_to_stop(self, grace: float) -> None:
        self._restart_at.clear()
        self._to_start.clear()
        self._kill_at = time.monotonic() + grace
        self._family.tell_to_stop()

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
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
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
        if number in _STOP:
            self._signals += 1
        elif number == signal.SIGQUIT:
            # As after two requests to stop.
            self._signals += 2
        elif number == signal.SIGUSR1:
            self._is_asked_for_stacks = True

    def _heed_signals(self) -> None:
        """First: stop gently. Second, or the end of the grace period: at once."""
        if self._is_asked_for_stacks:
            self._is_asked_for_stacks = False
            self._log_stacks()
        if self._signals == self._signals_seen:
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill_at = None
                self._kill("the grace period is over")
            return
        self._signals_seen = self._signals
        if self._signals == 1:
            self._console.stopping(self._options)
            self._tell_to_stop(self._grace)
            self._heartbeat()
        else:
            self._tell_to_stop(self._grace)
            self._kill_at = None
            self._kill("told twice to stop")

    def _log_stacks(self) -> None:
        for child in self._family.runners:
            text = stacks.ask(child.pid, child.stacks_file) or "no answer"
            logger.warning(
                "runner %s (process %s) is here:\n%s", child.identity.name, child.pid, text
            )

    @property
    def _grace(self) -> float:
        return float("inf") if self._options.drain else self._options.grace_period.total_seconds()

    def _kill(self, why: str) -> None:
        """Kill the runners; what they held is given back once they are really gone."""
        for child in self._family.all():
            self._killed = self._killed or not child.is_beat
            self._family.kill(child)
        if self._killed:
            self._console.say(f"{why}: runners killed, their jobs are given back")

    def _wait(self, wakeup: int) -> None:
        now = time.monotonic()
        moments = [self._beat_at, *self._restart_at.values()]
        moments += [one for one in (self._kill_at, self._family.wake_at) if one is not None]
        boards = [child.board for child in self._family.runners]
        limits = (board.next_limit() for board in boards)
        # One that has passed is being seen to.
        moments += [max(one, now + _AT_ONCE) for one in limits if one is not None]
        longest = _LOOK_AT_LINES if any(board.waiting for board in boards) else 1.0
        timeout = min(max(0.0, min(moments) - now), longest)
        listener = self._link.listener
        listened = [wakeup] if listener is None else [wakeup, listener.fileno()]
        readable, _, _ = select.select(listened, [], [], timeout)
        if time.monotonic() - now > timeout + _SLEPT:
            self._rescuer.awake_since = time.monotonic()
        if wakeup in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(wakeup, 4096)
        if listener is not None and listener.fileno() in readable:
            heard = self._link.hear()
            if any(self._options.serves(queue_name) for queue_name in heard):
                self._family.wake()

    # Children.

    def _reap(self) -> None:
        for child, code in self._family.reap():
            self._bury_child(child, code)

    def _bury_child(self, child: Child, code: int) -> None:
        self._account.add(child.board.counters())
        self._watchdog.forget(child.identity.runner)
        sentence, told = self._sentences.pop(child.pid, (None, ""))
        if child.board.has_left or (child.is_beat and code == 0):
            if not child.is_beat:
                # A job whose end PostgreSQL refused is not charged with a loss.
                note = "its runner ended before PostgreSQL accepted how the job ended"
                self._rescuer.died(child.identity.runner, Death(note, child.board, charged=False))
            goes_on = not (child.is_retired or self._is_ending)
            if goes_on and (child.board.is_recycled or not self._options.burst):
                self._restart_at[child.number] = time.monotonic()
            return
        how = how_it_died(code)
        what = "beat" if child.is_beat else f"runner {child.identity.name}"
        if not (self._is_ending or child.is_retired):
            if sentence is None:
                logger.error("%s (process %s) %s; starting another", what, child.pid, how)
            soon = time.monotonic() - child.started_at < _RESTART_PAUSE
            self._restart_at[child.number] = time.monotonic() + (_RESTART_PAUSE if soon else 0.0)
        if not child.is_beat:
            # Killed by us at the end of the grace period: given back, and nobody's loss.
            death = Death(f"{what}, process {child.pid}, {how}", child.board, not self._killed)
            if sentence is not None:
                death = Death(sentence.note, child.board, sentence.charged, sentence.overdue, told)
            self._rescuer.died(child.identity.runner, death)
            with self._link.trying():
                self._rescue()

    def _start_again(self) -> None:
        now = time.monotonic()
        if self._is_ending:
            return
        for number, moment in list(self._restart_at.items()):
            if moment > now:
                continue
            try:
                self._family.fork(number, self._id, is_beat=number == 0)
                del self._restart_at[number]
            except OSError as error:
                logger.error("no process for runner %s: %s; trying again", number, error)
                self._restart_at[number] = now + _RESTART_PAUSE

    def _guard(self) -> None:
        """Kill what has to be killed, and free what stands behind a job that never gives way."""
        runners = [child for child in self._family.runners if child.pid not in self._sentences]
        for child in runners:
            self._judge(child)
        for child in runners:
            control = self._link.control
            if control is None or child.pid in self._sentences:
                continue
            with self._link.trying():
                self._watchdog.ask(child, control)
                self._rescuer.free(control, child.identity.runner, child.board)

    def _judge(self, child: Child) -> None:
        if self._watchdog.judge(child, self._rescuer.awake_since) is None:
            return
        told = stacks.ask(child.pid, child.stacks_file)
        # To be asked may wake what was stuck: whoever has ended now is let live.
        sentence = self._watchdog.judge(child, self._rescuer.awake_since)
        if sentence is None:
            return
        logger.error("runner %s: %s", child.identity.name, sentence.note)
        self._sentences[child.pid] = sentence, told
        self._gave_back = self._gave_back or self._is_ending
        self._family.kill(child)

    # More runners and fewer; new code.

    def _scale(self) -> None:
        if self._autoscale is None or self._is_ending:
            return
        now = time.monotonic()
        living = [child for child in self._family.runners if not child.is_retired]
        count = len(self._family.runners) + len(self._restart_at.keys() - {0})
        control = self._link.control
        if control is not None and self._autoscale.wants_to_know(count, now):
            with self._link.trying():
                if self._autoscale.is_short(self._waited(control), now):
                    taken = {child.number for child in self._family.runners} | {*self._restart_at}
                    number = next(i for i in range(1, len(taken) + 2) if i not in taken)
                    self._console.say(f"jobs wait: runner {number} of {count + 1} is started")
                    self._restart_at[number] = now
                    return
        in_hand = {child.number: child.board.in_hand for child in living}
        retired = self._autoscale.superfluous(in_hand, now)
        for child in living:
            if child.number == retired:
                self._console.say(f"nothing to do: runner {retired} of {len(living)} is stopped")
                child.is_retired = True
                child.bell.ring(Call.STOP)

    def _keep_house(self) -> None:
        control = self._link.control
        if control is None:
            return
        if self._rescuer.tally.is_due(time.monotonic()):
            self._write_tally(control)
        if self._has_pauses and time.monotonic() >= self._park_at:
            with self._link.trying():
                self._park(control)
        if self._is_ending or self._options.burst:
            return
        with self._link.trying():
            self._keeper.step(control)
        with self._link.trying():
            self._pruner.step(control)
        with self._link.trying():
            self._sweeper.step(control)

    def _park_all(self) -> None:
        """A burst would else be over before what a pause had put off is due again."""
        with self._link.trying():
            assert self._link.control is not None
            while lifecycle.park(self._link.control) >= lifecycle.PART:
                pass

    def _park(self, control: Connection) -> None:
        """For moments: heartbeats must come in time."""
        until = time.monotonic() + _PARKING
        # Should it fail, not at once again.
        self._park_at = time.monotonic() + _PARKED
        while lifecycle.park(control) >= lifecycle.PART:
            if time.monotonic() >= until:
                self._park_at = until
                return

    def _write_tally(self, control: Connection) -> None:
        """What somebody holds, or the server refuses, costs some counts and nothing else."""
        with self._link.trying():
            try:
                self._rescuer.tally.write(control, time.monotonic())
            except psycopg.Error as error:
                if lifecycle.is_gone(error, control):
                    raise
                what = lifecycle.describe(error)
                logger.warning("worker %s: statistics: %s", self._options.name, what)

    def _waited(self, control: Connection) -> float:
        """For how many seconds the first due job of the worker's queues has waited."""
        seen = lifecycle.look(control)
        own = [place for lane, place in seen.first.items() if self._options.serves(lane.queue_name)]
        return max((seen.at - place.run_at for place in own), default=0.0)

    def _look_for_new_code(self) -> None:
        if self._files is None or self._is_ending or not (changed := self._files.changed()):
            return
        self._changed |= changed
        for path in sorted(self._changed):
            if wrong := reload.compiles(path):
                self._console.say(f"{path} has changed, but: {wrong}")
                return
        self._console.say(f"{min(self._changed)} has changed: beginning anew")
        self._is_done = self._is_renewed = True
        self._tell_to_stop(_RELOAD_GRACE)

    # The database.

    def _register(self) -> None:
        """Insert the worker's row under a new id; its runners start once it stands."""
        assert self._link.control is not None
        self._registered = False
        self._id = ids.uuid7()
        presence.register(self._link.control, self._id, self._options, [])
        self._registered = True
        self._last_beat_at = time.monotonic()
        if not self._is_ending:
            self._restart_at |= dict.fromkeys(self._to_start, 0.0)
        self._to_start.clear()

    def _heartbeat(self) -> None:
        interval = self._settings.heartbeat_interval.total_seconds()
        control = self._link.control
        # Soon again, unless it succeeds.
        self._beat_at = time.monotonic() + min(_BEAT_AGAIN, interval)
        if control is None:
            return
        with self._link.trying():
            try:
                if not self._registered:
                    self._register()
                live, doing = self._family.live, self._account.doing()
                heard = presence.heartbeat(control, self._id, live, doing, stopping=self._stopping)
            except psycopg.Error as error:
                self._heed_refusal(control, error)
                raise
            self._beat_at = time.monotonic() + interval
            self._last_beat_at = time.monotonic()
            if heard is None:
                self._begin_anew("was silent for too long, and its jobs were given to others")
            else:
                self._has_pauses = heard.has_pauses
                self._rescuer.look_for_the_dead(control, self._id)
                self._rescue()
        self._link.check_listener()

    def _heed_refusal(self, control: Connection, error: psycopg.Error) -> None:
        """The server answers, and refuses this worker's heartbeat alone: others will declare it
        dead, and its jobs must not run by then."""
        if not (self._registered and lifecycle.is_refused(error, control)):
            return
        silent = time.monotonic() - self._last_beat_at
        timeout = self._settings.heartbeat_timeout - 2 * self._settings.heartbeat_interval
        if silent >= timeout.total_seconds():
            self._begin_anew(f"cannot write its heartbeat ({lifecycle.describe(error)})")

    def _rescue(self) -> None:
        if self._link.control is not None:
            self._rescuer.rescue(self._link.control, self._id, self._family.live)

    def _begin_anew(self, why: str) -> None:
        """This worker is, or will be, declared dead: kill its runners, and register again."""
        logger.error(
            "worker %s %s; its runners are killed, and it begins anew", self._options.name, why
        )
        note = f"worker {self._options.name} {why}"
        self._sentences.clear()
        for child in self._family.kill_all():
            self._account.add(child.board.counters())
            self._watchdog.forget(child.identity.runner)
            self._rescuer.died(child.identity.runner, Death(note, child.board, charged=True))
            self._to_start.append(child.number)
        self._register()

    # The end.

    def _keep_once(self, control: Connection) -> None:
        with contextlib.suppress(psycopg.Error), control.transaction():
            for _ in keep(control):
                pass

    def _end(self) -> None:
        try:
            self._link.connect(patiently=False)
            assert self._link.control is not None
            self._rescue()
            self._write_tally(self._link.control)
            if self._options.burst:
                # Where workers only ever run in bursts, nobody else keeps the statistics.
                self._keep_once(self._link.control)
            presence.leave(self._link.control, self._id)
        except psycopg.Error as error:
            logger.warning(
                "worker %s could not say good-bye (%s); others will find out",
                self._options.name,
                lifecycle.describe(error),
            )
        self._console.end(self._account.totals())
