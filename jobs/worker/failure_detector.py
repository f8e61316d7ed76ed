"""Which other workers are dead, as one worker sees it. Pure: the caller has the clock and the rows.

A worker is dead when this one has seen its heartbeat stand still for the whole timeout, by this
worker's own clock, and only while this worker's own heartbeats succeeded. Two readings of the
database's clock prove nothing: a lock, a stalled server or a step of the clock makes every
heartbeat look old at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID


class FailureDetector:
    """`interval` and `timeout` of heartbeats in seconds; every `now` is monotonic, in seconds."""

    def __init__(self, interval: float, timeout: float) -> None:
        self._timeout = timeout
        # Between two observations further apart, the database may have been away for everybody.
        self._longest_gap = max(2 * interval, timeout / 3)
        self._observed_at: float | None = None
        # Of each worker: the version of its row, and for how long that was seen to stand still.
        self._seen: dict[UUID, tuple[str, float]] = {}

    def observe(
        self, now: float, versions: Mapping[UUID, str], locked: Collection[UUID] = ()
    ) -> dict[UUID, str]:
        """Take the versions of the other workers' rows, read right after an own heartbeat.

        `locked`: locked rows, whose worker could not write them. Returns the workers
        that are dead, with the version that stood still.
        """
        passed = 0.0
        if self._observed_at is not None and now - self._observed_at <= self._longest_gap:
            passed = now - self._observed_at
        self._observed_at = now
        seen: dict[UUID, tuple[str, float]] = {}
        for worker, version in versions.items():
            before, stood = self._seen.get(worker, ("", 0.0))
            is_still = before == version and worker not in locked
            seen[worker] = (version, stood + passed if is_still else 0.0)
        self._seen = seen
        return {
            worker: version for worker, (version, stood) in seen.items() if stood >= self._timeout
        }
