"""Statistics kept in order, by each worker's supervisor once in a minute: the queues are sampled,
rows of runners folded into one of all, minutes into longer spans, and what is old forgotten.
"""

from __future__ import annotations

import logging
import random
import time
from pathlib import Path
from typing import Any

import psycopg

from jobs import lifecycle
from jobs.lifecycle.statements import read_all
from jobs.models.statistic import HOUR, MINUTE, TEN_MINUTES

from .tally import FOLD_AFTER

logger = logging.getLogger("jobs")

# All in seconds. Once in so long…
_EVERY = 60.0
# …what is older than this is folded on, or forgotten.
KEEP_MINUTES, KEEP_TEN_MINUTES, KEEP_HOURS = 3 * 3600.0, 26 * 3600.0, 92 * 86_400.0

_STATEMENTS = read_all(Path(__file__).parent)


class Keeper:
    def __init__(self) -> None:
        # Workers that start together do not keep at the same moment.
        self._next_at = time.monotonic() + random.uniform(1.0, 10.0)  # noqa: S311

    def step(self, connection: psycopg.Connection[Any]) -> None:
        """Do what is due; what the server refuses is told, and tried again in a minute."""
        now = time.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + _EVERY
        try:
            keep(connection)
        except psycopg.Error as error:
            if lifecycle.is_gone(error):
                raise
            logger.warning("statistics: %s", str(error).strip())


def keep(connection: psycopg.Connection[Any]) -> None:
    """One round."""
    connection.execute(_STATEMENTS["sample"])
    for of_runners, of, into, older_than in (
        (True, MINUTE, MINUTE, FOLD_AFTER),
        (False, MINUTE, TEN_MINUTES, KEEP_MINUTES),
        (False, TEN_MINUTES, HOUR, KEEP_TEN_MINUTES),
    ):
        connection.execute(
            _STATEMENTS["fold"],
            {"of_runners": of_runners, "of": of, "into": into, "older_than": older_than},
        )
    connection.execute(_STATEMENTS["forget_statistics"], {"older_than": KEEP_HOURS})
