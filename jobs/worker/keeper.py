"""Statistics kept in order, by each worker's supervisor once in a minute: the queues are sampled,
rows of runners folded into one of all, minutes into longer spans, and what is old forgotten.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from jobs import lifecycle
from jobs.lifecycle.statements import read_all
from jobs.models.statistic import HOUR, MINUTE, TEN_MINUTES

from .tally import FOLD_AFTER

logger = logging.getLogger("jobs")

# All in seconds. A round begins so often…
_EVERY = 60.0
# …and one with what is done rarely, so often.
_HOURLY = 3600.0
# …minutes older than this, and ten minutes, are folded on; hours older than this are forgotten.
KEEP_MINUTES, KEEP_TEN_MINUTES, KEEP_HOURS = 3900.0, 26 * 3600.0, 92 * 86_400.0
# (of runners, of spans of so many seconds, into spans of so many, once older than)
_FOLDS = (
    (True, MINUTE, MINUTE, FOLD_AFTER),
    (False, MINUTE, TEN_MINUTES, KEEP_MINUTES),
    (False, TEN_MINUTES, HOUR, KEEP_TEN_MINUTES),
)

_STATEMENTS = read_all(Path(__file__).parent)


class Keeper:
    """One statement at a step, each short: a supervisor has heartbeats to send."""

    def __init__(self) -> None:
        # Workers that start together do not keep at the same moment.
        self._next_at = time.monotonic() + random.uniform(1.0, 10.0)  # noqa: S311
        # Not in the first round: a queue's first job may not have been counted yet.
        self._hourly_at = time.monotonic() + _HOURLY
        self._round: Iterator[None] | None = None

    def step(self, connection: psycopg.Connection[Any]) -> None:
        """Do what is due; what the server refuses is told, and tried again in a minute."""
        now = time.monotonic()
        if self._round is None:
            if now < self._next_at:
                return
            self._next_at = now + _EVERY
            is_hourly = now >= self._hourly_at
            if is_hourly:
                self._hourly_at = now + _HOURLY
            self._round = keep(connection, is_hourly=is_hourly)
        try:
            with connection.transaction():
                connection.execute("SET LOCAL statement_timeout = '2s'")
                connection.execute("SET LOCAL lock_timeout = '200ms'")
                next(self._round)
        except StopIteration:
            self._round = None
        except psycopg.Error as error:
            self._round = None
            if lifecycle.is_gone(error, connection):
                raise
            logger.warning("statistics: %s", lifecycle.describe(error))


def keep(connection: psycopg.Connection[Any], *, is_hourly: bool = False) -> Iterator[None]:
    """One round, a statement at a time; `is_hourly`: with what is done once an hour."""
    first: dict[str, float] = {}
    for lane, place in lifecycle.look(connection).first.items():
        first[lane.queue_name] = min(place.run_at, first.get(lane.queue_name, place.run_at))
    parameters = {"queues": list(first), "firsts": list(first.values())}
    connection.execute(_STATEMENTS["sample"], parameters)
    yield
    for of_runners, of, into, older_than in _FOLDS:
        said = {"of_runners": of_runners, "of": of, "into": into, "older_than": older_than}
        while connection.execute(_STATEMENTS["fold"], said).rowcount:
            # However many there are: those of this moment only.
            yield
    connection.execute(_STATEMENTS["forget_statistics"], {"older_than": KEEP_HOURS})
    yield
    connection.execute(_STATEMENTS["forget_notes"])
    if is_hourly:
        yield
        connection.execute(_STATEMENTS["forget_queues"])
    # Not at the end: the end is an exception to who asks, and would undo this.
    yield
