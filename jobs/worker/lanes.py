"""What a runner remembers of the lanes: which hold jobs, and how far each was claimed.
Pure: the caller has the clock and the database.

A claim starts at its lane's mark, the last place that was claimed there, and so does not walk
over what an open snapshot keeps from being removed. A mark is a hint: behind it may land a job
whose transaction was open for a while, or whose server's clock was set back. A glance looks a
few seconds behind the marks, a look everywhere, and each as often as it costs little. So that
a glance costs little in a project of thousands of queues, too, it goes into those lanes only
from which jobs were claimed last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from jobs.lifecycle import START, Lane, Place, Seen

# All in seconds. A glance goes so far behind the mark: no ordinary request is open for longer.
_MARGIN = 5.0
# Looks are at most so old while there is work, …
_OLDEST = 0.1
# … and cost at most this share of the time.
_SHARE = 20
# However much that is: so long at most. And of so many the quickest tells the cost.
_LONGEST = 30.0
_OUTLIERS = 3
# A glance, and a claim without a look, go into so many lanes at most.
_MOST_LANES = 64
# A lane that was seen empty for so long is left to the looks.
_FORGET = 60.0


class _Known:
    __slots__ = ("first", "mark", "seen_at")

    def __init__(self) -> None:
        # The first job's moment when it was last looked; None: there was none.
        self.first: float | None = None
        self.mark = START
        # Monotonic, when it last held a job.
        self.seen_at = 0.0


class Lanes:
    """Moments are the server's, in seconds since the epoch; `now` is monotonic."""

    def __init__(self) -> None:
        self._known: dict[Lane, _Known] = {}
        # Those from which jobs were claimed last, the latest at the end.
        self._used: dict[Lane, None] = {}
        # Add to a monotonic moment for the server's.
        self._clock = 0.0
        self._looked_at = self._glanced_at = float("-inf")
        # When the last look began: what it saw is not younger.
        self._look_began = float("-inf")
        self._looks: deque[float] = deque(maxlen=_OUTLIERS)
        self._glances: deque[float] = deque(maxlen=_OUTLIERS)

    def wants_look(self, now: float, *, at_once: bool) -> bool:
        """Whether to look everywhere now; `at_once`: however young the last one is."""
        oldest = 0.0 if at_once else _OLDEST
        return now - self._looked_at >= max(oldest, _pause_after(self._looks))

    def look_again(self) -> None:
        """However young the last look is, look everywhere next."""
        self._looked_at = float("-inf")

    def wants_glance(self, now: float, *, at_once: bool) -> bool:
        """Whether to look a little behind the marks; asked when it is too early for a look."""
        last = max(self._looked_at, self._glanced_at)
        oldest = 0.0 if at_once else _OLDEST
        return bool(self._foremost()) and now - last >= max(oldest, _pause_after(self._glances))

    def glance_from(self) -> dict[Lane, float]:
        """Into which lanes to glance, and from which moment on."""
        foremost = self._foremost()
        return {lane: max(0.0, known.mark.run_at - _MARGIN) for lane, known in foremost.items()}

    def looked(self, seen: Seen, lanes: Iterable[Lane], *, began: float, now: float) -> None:
        """Take what a look saw in these lanes of its own, and nothing in all the others."""
        self._looks.append(now - began)
        self._look_began, self._looked_at = began, now
        for lane in lanes:
            self._known.setdefault(lane, _Known())
        self._take(seen, self._known, began)
        for lane, known in list(self._known.items()):
            if known.first is None and now - known.seen_at > _FORGET:
                del self._known[lane]

    def glanced(self, seen: Seen, lanes: Iterable[Lane], *, began: float, now: float) -> None:
        """The same of a glance into these lanes."""
        self._glances.append(now - began)
        self._glanced_at = now
        self._take(seen, lanes, began)

    def _take(self, seen: Seen, lanes: Iterable[Lane], now: float) -> None:
        self._clock = seen.at - now
        for lane in lanes:
            known = self._known[lane]
            place = seen.first.get(lane)
            known.first = None if place is None else place.run_at
            if place is not None:
                known.seen_at = now
            # What comes from now on stands behind now, even where the first is of tomorrow.
            here = Place(seen.at, START.id)
            known.mark = here if place is None else min(place, here)

    def claimed(self, reached: Mapping[Lane, Place]) -> None:
        """Move the marks on to where a claim has come."""
        for lane, place in reached.items():
            known = self._known.get(lane)
            if known is not None:
                known.mark = place
                self._used.pop(lane, None)
                self._used[lane] = None
        while len(self._used) > _MOST_LANES:
            del self._used[next(iter(self._used))]

    def due(self, now: float) -> dict[Lane, Place]:
        """The lanes that held a job which is due, with their marks."""
        at = now + self._clock
        return {
            lane: known.mark
            for lane, known in self._known.items()
            if known.first is not None and known.first <= at
        }

    def marks(self) -> dict[Lane, Place]:
        """The foremost lanes with their marks, whether or not a job was seen there."""
        return {lane: known.mark for lane, known in self._foremost().items()}

    def _foremost(self) -> dict[Lane, _Known]:
        """All lanes where they are few, else those from which jobs were claimed last."""
        if len(self._known) <= _MOST_LANES:
            return self._known
        return {lane: self._known[lane] for lane in self._used if lane in self._known}

    def next_due_in(self, now: float) -> float | None:
        """The seconds until the next job is due that was not when it was looked."""
        at = now + self._clock
        coming = [
            known.first - at
            for known in self._known.values()
            if known.first is not None and known.first > at
        ]
        return min(coming, default=None)

    def looked_since(self, moment: float) -> bool:
        """Whether a look that began after that moment has seen everything."""
        return self._look_began > moment


def _pause_after(took: deque[float]) -> float:
    """One that had to wait, for a lock or for a processor, tells nothing of what they cost."""
    return min(_LONGEST, _SHARE * min(took, default=0.0))
