"""A slow sweep for running jobs that no claim leads to, by each worker's supervisor.

There are none unless SQL by hand made them: TRUNCATE jobs_claim, or a restored backup.
"""

from __future__ import annotations

import logging
import random
import time
from typing import Any

import psycopg

from jobs import conf, lifecycle

logger = logging.getLogger("jobs")

# So many rows at a time: some milliseconds.
_PART = 2_000
# A part is followed by a pause of so many times its own duration, so that the sweep takes at most
# half a percent of one core of the server.
_PAUSE = 200
# The first sweep begins so many seconds after the worker, give or take a half.
_FIRST = 60.0


class Sweeper:
    """One sweep over the whole key every `PRUNE_INTERVAL`, a part at a step."""

    def __init__(self) -> None:
        self._interval = conf.settings().prune_interval.total_seconds()
        self._after = lifecycle.FIRST
        self._next_at = time.monotonic() + _jittered(min(_FIRST, self._interval))

    def step(self, connection: psycopg.Connection[Any]) -> None:
        """Look at the next part, if it is time. Commits."""
        began = time.monotonic()
        if began < self._next_at:
            return
        # Should it fail, later.
        self._next_at = began + self._interval
        last, found = lifecycle.adopt(connection, self._after, _PART)
        if found:
            logger.warning("%d running jobs had no claim; they are given back", found)
        if last is None:
            self._after = lifecycle.FIRST
            self._next_at = began + _jittered(self._interval)
        else:
            self._after = last
            self._next_at = began + _PAUSE * (time.monotonic() - began)


def _jittered(seconds: float) -> float:
    return seconds * (0.5 + random.random())  # noqa: S311
