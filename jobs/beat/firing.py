"""Ticks into jobs: what is due is read, thought about, and moved in one statement."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psycopg
from django.conf import settings as django_settings
from django.db import transaction
from psycopg.abc import Buffer
from psycopg.types.datetime import TimestamptzLoader

from jobs import codec, conf, cron, ids, lifecycle
from jobs.execution import clean
from jobs.lifecycle import Draft, Firing, Move
from jobs.lifecycle.statements import read_all
from jobs.models import Job, Schedule
from jobs.tasks import Task, call, resolve

logger = logging.getLogger("jobs")

# So many schedules at a time: what is thought about for longer may have changed meanwhile.
_BATCH = 500
# A schedule that cannot be enqueued is tried again this much later.
_TRY_AGAIN = timedelta(minutes=1)
# What is due and was not moved is being moved by another beat, or held by somebody, in seconds.
_AGAIN = 0.1
# The look while a refused schedule remains due, in seconds.
_REFUSED_AGAIN = 1.0
_SHORT_OF_PATIENCE = "SET LOCAL lock_timeout = '100ms'"
# Why a tick is not fired.
_OVERLAP = "overlap"

_STATEMENTS = read_all(Path(__file__).parent)
_FIELDS = [field.attname for field in Schedule._meta.concrete_fields]
_COLUMNS = ", ".join(f"schedule.{name}" for name in _FIELDS)
_DUE = _STATEMENTS["due"].format(columns=_COLUMNS)


@dataclass(frozen=True, slots=True)
class Row:
    """A schedule as it was when it had this version, and its jobs that still lived then."""

    schedule: Schedule
    version: str
    living: list[str]


class Beat:
    """One beat over one connection that does nothing else (see `lifecycle.connect`)."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        # Schedules of which PostgreSQL refuses even what is wrong with them: left until when.
        self._refused: dict[int, float] = {}
        connection.adapters.register_loader("timestamptz", _Moment)

    def step(self) -> float | None:
        """Fire what is due; returns in how many seconds there is more to do, None: not at all."""
        passed_over = 0
        while True:
            rows, now, is_full = self._due(passed_over)
            moves, bad = self._decide(rows, now)
            moved = self._fire([move for move in moves if not move.cancel])
            # One by one: these take a transaction each, whose locks a beat that is stopped in it
            # would hold.
            for move in moves:
                moved |= self._fire([move]) if move.cancel else set()
            # Last, so that nothing that is due waits for it.
            for row, error in bad:
                self._shelve(row.schedule.pk, row.version, str(row.schedule), error)
            self._accept(moved)
            # Only a full batch has more behind it.
            if not is_full:
                break
            # What could not be moved, because somebody holds it, must not hide the rest.
            passed_over += 0 if moved else _BATCH
        [seconds] = self._connection.execute(_STATEMENTS["nearest"]).fetchone() or (None,)
        # What is due and was not moved is being moved by another beat, or held by somebody.
        if seconds is None or seconds > 0:
            return seconds
        clock = time.monotonic()
        is_refused = any(until > clock for until in self._refused.values())
        return _REFUSED_AGAIN if is_refused and not moved else _AGAIN

    def _due(self, passed_over: int = 0) -> tuple[list[Row], datetime, bool]:
        """Return what is due, the server's time, and whether there may be more."""
        parameters = {"limit": _BATCH, "offset": passed_over}
        found = self._connection.execute(_DUE, parameters).fetchall()
        clock = time.monotonic()
        rows = [_row(values) for values in found]
        rows = [row for row in rows if self._refused.get(row.schedule.pk, 0.0) <= clock]
        now = found[0][-2] if found else datetime.now(UTC)
        return rows, now, len(found) == _BATCH

    def _decide(
        self, rows: list[Row], now: datetime
    ) -> tuple[list[Move], list[tuple[Row, Exception]]]:
        """What becomes of each schedule; a bad one is shown as bad and stops no other."""
        moves, bad = [], []
        for row in rows:
            try:
                _read(row.schedule)
                moves.append(_plan(row) if row.schedule.stale_since else _move(row, now))
            except Exception as error:
                bad.append((row, error))
        return moves, bad

    def _fire(self, moves: Sequence[Move]) -> set[int]:
        if not moves:
            return set()
        try:
            if not moves[0].cancel:
                return lifecycle.fire(self._connection, moves)
            return self._fire_and_cancel(moves[0])
        except psycopg.errors.LockNotAvailable as error:
            if lifecycle.is_transient(error):
                # A job that is to be cancelled is locked: try again at the next look.
                return set()
            return self._fire_apart(moves, error)
        except Exception as error:
            if not lifecycle.is_refused(error, self._connection):
                raise
            return self._fire_apart(moves, error)

    def _fire_apart(self, moves: Sequence[Move], error: Exception) -> set[int]:
        """After a refusal: the schedule that is at fault must not hold up its batch."""
        if len(moves) > 1:
            middle = len(moves) // 2
            return self._fire(moves[:middle]) | self._fire(moves[middle:])
        self._shelve(moves[0].id, moves[0].version, str(moves[0].id), error)
        return set()

    def _fire_and_cancel(self, move: Move) -> set[int]:
        with self._connection.transaction():
            self._connection.execute(_SHORT_OF_PATIENCE)
            if moved := lifecycle.fire(self._connection, [move]):
                because = "the next run of its schedule was due"
                lifecycle.cancel_on(self._connection, move.cancel, because=because)
        return moved

    def _accept(self, moved: set[int]) -> None:
        """Delete the refusals of schedules that have been written since."""
        if accepted := moved & self._refused.keys():
            for id_ in accepted:
                del self._refused[id_]
            lifecycle.forget_refusals(self._connection, "schedule", [str(id_) for id_ in accepted])

    def _shelve(self, id_: int, version: str, name: str, error: Exception) -> None:
        is_database = isinstance(error, psycopg.Error)
        what = lifecycle.describe(error) if is_database else f"{type(error).__name__}: {error}"
        parameters = {
            "id": id_,
            "version": version,
            "problem": clean(what),
            "later": _TRY_AGAIN,
        }
        if id_ not in self._refused:
            logger.error("schedule %s: %s", name, what)
        try:
            self._connection.execute(_STATEMENTS["shelve"], parameters)
        except Exception as failure:
            if not lifecycle.is_refused(failure, self._connection):
                raise
            # Not even that may be written: it is shown elsewhere.
            self._refused[id_] = time.monotonic() + _TRY_AGAIN.total_seconds()
            lifecycle.note_refusal(self._connection, "schedule", str(id_), failure, by="beat")
        else:
            self._accept({id_})


def _row(values: Sequence[Any]) -> Row:
    *columns, version, _, living = values
    return Row(Schedule.from_db(conf.settings().database, _FIELDS, columns), version, living)


def _read(schedule: Schedule) -> None:
    """Its JSON, which came as text: what Python cannot read is this schedule's problem alone."""
    schedule.arguments = json.loads(cast(str, schedule.arguments))
    if schedule.metadata is not None:
        schedule.metadata = json.loads(cast(str, schedule.metadata))


class _Moment(TimestamptzLoader):
    """Always in UTC: in one zone's own time, Python's sums and comparisons are of wall time."""

    def load(self, data: Buffer) -> datetime:
        return super().load(data).astimezone(UTC)


def _plan(row: Row) -> Move:
    """Find the next tick of a schedule that has been made, or changed."""
    schedule = row.schedule
    assert schedule.stale_since is not None
    # Nothing that was fired is fired again, even if the server's clock was set back.
    since = max(schedule.stale_since, schedule.last_tick or schedule.stale_since)
    following = schedule.first_after(since)
    return Move(id=schedule.pk, version=row.version, tick=None, following=following)


def _move(row: Row, now: datetime) -> Move:
    """Decide what the ticks that are due come to."""
    schedule = row.schedule
    assert schedule.next_run_at is not None
    first: datetime | None = schedule.next_run_at
    if schedule.problem:
        # What is due is the try: the tick is the first that could not be fired, if any.
        first = schedule.missed_tick or schedule.first_after(schedule.next_run_at)
    elif schedule.last_tick and schedule.next_run_at <= schedule.last_tick:
        # The server's clock was set back.
        first = schedule.first_after(schedule.last_tick)
    # Whatever becomes of the ticks: a call that does not fit is a problem.
    common = _common(schedule)
    if first is None or first > now:
        return Move(id=schedule.pk, version=row.version, tick=None, following=first)
    due = cron.due(
        schedule.rule,
        schedule.policy,
        first=first,
        now=now,
        default_zone=django_settings.TIME_ZONE,
    )
    ticks, skipped, because, cancel = _policy(row, due)
    following = due.following
    if schedule.max_runs is not None:
        left = schedule.max_runs - schedule.runs
        ticks = ticks[: max(0, left)]
        following = None if len(ticks) >= left else following
    if skipped:
        logger.debug("schedule %s: %d skipped (%s)", schedule, len(skipped), because)
    return Move(
        id=schedule.pk,
        version=row.version,
        tick=due.last,
        following=following,
        firings=tuple(_firing(schedule, common, tick) for tick in ticks),
        skips=len(skipped),
        skipped_tick=skipped[-1] if skipped else None,
        because=because if skipped else None,
        cancel=cancel if ticks else (),
    )


def _policy(
    row: Row, due: cron.Due
) -> tuple[tuple[datetime, ...], tuple[datetime, ...], str, tuple[str, ...]]:
    """(ticks to fire, ticks to skip, why, jobs to cancel)"""
    if row.schedule.overlap == Schedule.Overlap.ALLOW:
        return due.fire, due.late, cron.LATE, ()
    # Of several, each would meet the one before it alive.
    ticks = due.fire[-1:]
    if row.schedule.overlap == Schedule.Overlap.CANCEL:
        return ticks, due.late, cron.LATE, tuple(row.living)
    if row.living and ticks:
        return (), (*due.late, *due.fire), _OVERLAP, ()
    return ticks, due.late, cron.LATE, ()


def _common(schedule: Schedule) -> Draft:
    """What all its jobs have in common; the error of a call that does not fit."""
    task = call.checked(_task(schedule))
    kept, named = schedule.arguments, schedule.tick_argument
    task.check_call(kept["args"], kept["kwargs"] | {named: None} if named else kept["kwargs"])
    return call.draft(task, schedule_id=schedule.pk)


def _firing(schedule: Schedule, common: Draft, tick: datetime | None) -> Firing:
    """The job of a tick; None: run now, whose tick argument is told the moment."""
    arguments = schedule.arguments
    if named := schedule.tick_argument:
        told = codec.encode(tick or datetime.now(UTC), named)
        arguments = arguments | {"kwargs": arguments["kwargs"] | {named: told}}
    delay = common.delay
    if schedule.jitter and tick is not None:
        delay += random.random() * schedule.jitter  # noqa: S311
    draft = replace(common, tick=tick, delay=delay)
    return Firing(id=ids.uuid7(), draft=draft, arguments=codec.dumps(arguments))


def _task(schedule: Schedule) -> Task[..., Any]:
    options = schedule.options
    task = resolve(schedule.task)
    return task.using(**options) if options else task


def run_now(schedule: Schedule) -> Job[Any]:
    """Enqueue one job of it, in the caller's transaction; it has no tick, and counts as no run.

    The errors of a call that does not fit.
    """
    alias = conf.settings().database
    firing = _firing(schedule, _common(schedule), None)
    with transaction.atomic(using=alias):
        lifecycle.insert(firing.draft, [firing.id], [firing.arguments])
        Schedule.objects.using(alias).filter(pk=schedule.pk).update(last_job_id=firing.id)
    return Job.objects.using(alias).get(pk=firing.id)
