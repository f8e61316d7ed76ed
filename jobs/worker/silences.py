"""Of which failures no alarm is to tell: asked when there is one to be told, and now and then."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import psycopg

from jobs import frames, lifecycle
from jobs.lifecycle import LOST_CLASS
from jobs.outcomes import Failed, Outcome, Retried

# What was read is good for so long, in seconds.
_FRESH = 10.0


class Silences:
    def __init__(self) -> None:
        self._kinds: set[tuple[str, str]] = set()
        self._read_at = -_FRESH

    def cover(self, connection: psycopg.Connection[Any], task: str, outcome: Outcome) -> bool:
        """Whether nobody wants to hear of this end."""
        if not isinstance(outcome, Failed | Retried):
            return False
        return self._has(connection, task, lifecycle.kind_of(outcome.problem))

    def cover_loss(self, connection: psycopg.Connection[Any], task: str) -> bool:
        """Whether nobody wants to hear that a job of the task has lost its process."""
        return self._has(connection, task, frames.fingerprint(LOST_CLASS, ""))

    def _has(self, connection: psycopg.Connection[Any], task: str, kind: str) -> bool:
        now = time.monotonic()
        if now - self._read_at > _FRESH:
            self._read_at = now
            # What cannot be read silences nothing, and swallows no alarm.
            with contextlib.suppress(psycopg.Error):
                self._kinds = lifecycle.silenced(connection)
        return (task, kind) in self._kinds
