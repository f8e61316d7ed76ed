"""What a worker has done and does, of all its processes: for its console and its heartbeats."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from .family import Family
from .presence import Doing

# How attempts end; what was given back has not ended.
ENDED = ("succeeded", "failed", "retried", "cancelled", "snoozed")


class Account:
    """Of the runners that live, and of those that died, as far as their boards were added."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._gone: Counter[str] = Counter()
        self._ended = 0
        self._at = time.monotonic()

    def add(self, counts: Mapping[str, int]) -> None:
        """What a runner has done that lives no more, or was done in a dead one's place."""
        self._gone.update(counts)

    def totals(self) -> Counter[str]:
        """How many attempts by how they ended."""
        return self._gone + Counter(self._family.counters())

    def doing(self) -> Doing:
        """The pace is that since the last call."""
        totals, now = self.totals(), time.monotonic()
        ended = sum(totals[name] for name in ENDED)
        pace = (ended - self._ended) / max(0.001, now - self._at)
        self._ended, self._at = ended, now
        runners = self._family.runners
        return Doing(
            running=sum(child.board.count_running() for child in runners),
            ended=ended,
            pace=max(0.0, pace),
            claim_time=_mean(child.board.claim_time for child in runners),
            memory=_memory([os.getpid(), *(child.pid for child in self._family.all())]),
        )


def _mean(times: Iterable[float]) -> float | None:
    known = [time for time in times if time]
    return sum(known) / len(known) if known else None


def _memory(pids: Iterable[int]) -> int | None:
    """Bytes of these processes in memory; what they share counts for each. None where the system
    does not tell."""
    pages = 0
    for pid in pids:
        # It may just have ended.
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") or None
