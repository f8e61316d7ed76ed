"""A beat's life: a connection, steps, and sleep until there is something to do."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

import psycopg
from django.conf import settings as django_settings
from django.db import Error, connections
from django.db.models.functions import Now

from jobs import conf, cron, lifecycle
from jobs.models import Schedule

from .declared import synchronise
from .firing import Beat

logger = logging.getLogger("jobs")

# All in seconds. A beat that hears of changes looks again after so long…
_LONGEST_SLEEP = 60.0
# …one that does not, after so long.
_POLL = 1.0
# So often it is seen whether the tz database was replaced.
_LOOK_AT_ZONES = 600.0
# What did not work is tried again so much later, and ever later.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0

# (seconds, a file to listen at) → whether to go on.
Sleep = Callable[[float, int | None], bool]


def serve(sleep: Sleep) -> None:
    """Step until told to stop: `sleep` returns False then, and early when the file can be read."""
    failures = 0
    server = _Server()
    with contextlib.closing(server):
        while True:
            try:
                wait = server.step()
                if failures:
                    logger.warning("beat goes on")
                failures = 0
            except Exception as error:
                failures += 1
                if failures == 1 or failures % 20 == 0:
                    is_database = isinstance(error, psycopg.Error | Error)
                    logger.warning("beat: %s", _words(error), exc_info=not is_database)
                server.close()
                wait = lifecycle.pause_after(failures)
            if not sleep(wait, server.fileno):
                return


class _Server:
    def __init__(self) -> None:
        self._listens = conf.settings().listen
        self._connection: psycopg.Connection[Any] | None = None
        self._beat: Beat | None = None
        self._is_in_step = False
        self._zones = cron.Zones()
        self._looked_at = self._try_at = 0.0
        self._pause = _FIRST_PAUSE
        # While it looked, somebody has changed a schedule.
        self._has_heard = False
        # What was planned by other zones has to be planned anew.
        self._is_to_replan = True

    @property
    def fileno(self) -> int | None:
        """Where it is heard that a schedule has changed."""
        connection = self._connection
        return None if connection is None or not self._listens else connection.fileno()

    def step(self) -> float:
        """One look; returns for how long there is nothing to do."""
        if self._connection is None:
            self._connection = lifecycle.connect("jobs beat", pinned=False)
            if self._listens:
                self._connection.add_notify_handler(self._hear)
                self._connection.execute("LISTEN jobs_schedule")
            self._beat = Beat(self._connection)
            # Whatever did not work may have been for want of a server.
            self._try_at, self._pause = 0.0, _FIRST_PAUSE
        self._now_and_then()
        assert self._beat is not None
        self._has_heard = False
        seconds = self._beat.step()
        if self._has_heard:
            # Behind the last look, perhaps, and it is not told twice.
            return 0.0
        longest = _LONGEST_SLEEP if self._listens else _POLL
        if self._try_at:
            longest = min(longest, max(0.0, self._try_at - time.monotonic()))
        return longest if seconds is None else min(longest, seconds)

    def _now_and_then(self) -> None:
        """What may fail, and keeps nothing that is due from being fired."""
        now = time.monotonic()
        is_to_look = self._is_to_replan or now - self._looked_at > _LOOK_AT_ZONES
        if now < self._try_at or (self._is_in_step and not is_to_look):
            return
        try:
            if not self._is_in_step:
                synchronise()
                self._is_in_step = True
            if is_to_look:
                self._look_at_zones()
            self._try_at, self._pause = 0.0, _FIRST_PAUSE
        except Exception as error:
            logger.warning("beat: %s; tried again in %.0f s", _words(error), self._pause)
            self._try_at = now + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        finally:
            # Django's own connection is not needed again for long.
            connections.close_all()

    def _hear(self, notify: psycopg.Notify) -> None:
        self._has_heard = True

    def _look_at_zones(self) -> None:
        rows = Schedule.objects.using(conf.settings().database)
        names = set(rows.values_list("timezone", flat=True).distinct()) - {""}
        if self._zones.have_changed(names | {django_settings.TIME_ZONE}):
            self._is_to_replan = True
        # At first, too: a beat before this one may have had other zones, or TIME_ZONE.
        if self._is_to_replan:
            replan()
        self._looked_at, self._is_to_replan = time.monotonic(), False

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._beat = None


def _words(error: Exception) -> str:
    """The error in one line; of Django's errors, PostgreSQL's message."""
    cause = error.__cause__ if isinstance(error, Error) else error
    return lifecycle.describe(cause) if isinstance(cause, psycopg.Error) else str(error).strip()


def replan() -> None:
    """Let those cron schedules be planned anew whose next tick the zones say otherwise now."""
    rows = Schedule.objects.using(conf.settings().database)
    planned = rows.filter(kind=Schedule.Kind.CRON, next_run_at__gt=Now(), problem="")
    for row in planned.defer("arguments", "metadata").annotate(now=Now()).iterator():
        with contextlib.suppress(Exception):
            # A row that became bad is shown as bad when it is due.
            if row.first_after(row.now) != row.next_run_at:
                rows.filter(pk=row.pk, next_run_at=row.next_run_at).update(
                    next_run_at=None, stale_since=Now()
                )
