"""How many runners a worker has, by what waits for them. Pure: the caller has the clock."""

from __future__ import annotations

from collections.abc import Mapping

# All in seconds. A due job that has waited for so long wants another runner…
_WAITED = 1.0
# …at most one in so long.
_PAUSE = 1.0


class Autoscale:
    """`retire_after`: a runner that had nothing to do for so many seconds is not needed."""

    def __init__(self, least: int, most: int, retire_after: float) -> None:
        self._least = least
        self._most = most
        self._retire_after = retire_after
        self._idle_since: dict[int, float] = {}
        self._added_at = float("-inf")

    def wants_to_know(self, count: int, now: float) -> bool:
        """Whether to ask how long the first due job has waited: a query."""
        return count < self._most and now - self._added_at >= _PAUSE

    def is_short(self, waited: float, now: float) -> bool:
        """Whether to add a runner, given for how many seconds the first due job has waited."""
        if waited < _WAITED:
            return False
        self._added_at = now
        return True

    def superfluous(self, in_hand: Mapping[int, int], now: float) -> int | None:
        """The runner to retire, of those given with how many jobs each has; None: all stay."""
        self._idle_since = {
            one: self._idle_since.get(one, now) for one, jobs in in_hand.items() if not jobs
        }
        if len(in_hand) <= self._least:
            return None
        idle = [one for one, since in self._idle_since.items() if now - since >= self._retire_after]
        if not idle:
            return None
        # The next one after as long again.
        self._idle_since.clear()
        return idle[-1]
