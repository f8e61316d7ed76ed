"""When a runner lets a new one take its place: what leaks in a site's code leaks not for ever."""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Limits differ by so much between runners, so that not all are renewed at once.
_JITTER = 0.1
# Memory is looked at so often, in seconds.
_LOOK = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None: no limit. `max_age` in seconds, `max_memory` in MB."""

    max_jobs: int | None = None
    max_age: float | None = None
    max_memory: int | None = None


class Recycling:
    """One runner's life."""

    def __init__(self, limits: Limits) -> None:
        share = 1.0 + _JITTER * (2.0 * random.random() - 1.0)  # noqa: S311
        self._jobs = None if limits.max_jobs is None else max(1.0, limits.max_jobs * share)
        self._age = None if limits.max_age is None else limits.max_age * share
        # Not more than was asked for.
        self._memory = limits.max_memory
        self._began_at = self._looked_at = time.monotonic()

    def why(self, jobs: int, now: float) -> str:
        """Why to end now; empty: no reason."""
        if self._jobs is not None and jobs >= self._jobs:
            return f"after {jobs:,} jobs"
        if self._age is not None and now - self._began_at >= self._age:
            return f"after {now - self._began_at:,.0f} s"
        if self._memory is not None and now - self._looked_at >= _LOOK:
            self._looked_at = now
            megabytes = memory()
            if megabytes >= self._memory:
                return f"at {megabytes:,.0f} MB"
        return ""


def memory() -> float:
    """MB of this process in memory; where the system does not tell, the most that it ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
