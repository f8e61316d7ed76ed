"""Jobs of tasks that this process does not know. Pure: the caller has the clock.

During a rolling deploy workers of the old code meet jobs of the new: they leave them for others
for a while, and only then let them fail.
"""

from __future__ import annotations

# All in seconds. Left for so long at first, then twice as long each time, up to so long.
_FIRST, _LONGEST = 1.0, 30.0
# So many jobs are remembered.
_REMEMBERED = 10_000
# It is told so often, of each task.
_TELL = 60.0


class Strangers:
    """`patience`: for how many seconds such a job is left for others."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        # When each job was first met, and how often.
        self._met: dict[str, tuple[float, int]] = {}
        # When each task was met first, and last.
        self._tasks: dict[str, tuple[float, float]] = {}
        self._told: dict[str, float] = {}

    def leave(self, job_id: str, task: str, now: float) -> float | None:
        """For how many seconds to leave the job; None: nobody has taken it for long enough."""
        first_of_task, last_of_task = self._tasks.get(task, (now, now))
        if now - last_of_task >= self._patience:
            first_of_task = now
        self._tasks[task] = (first_of_task, now)
        if job_id not in self._met and len(self._met) >= _REMEMBERED:
            # Too many to remember each: they have as long as their task.
            return None if now - first_of_task >= self._patience else _LONGEST
        first, times = self._met.pop(job_id, (now, 0))
        if now - first >= self._patience:
            return None
        self._met[job_id] = (first, times + 1)
        return min(_FIRST * 2.0 ** min(times, 10), _LONGEST)

    def forget(self, now: float) -> None:
        """Let go of jobs that others have taken long ago."""
        old = [id_ for id_, (first, _) in self._met.items() if now - first > 2 * self._patience]
        for id_ in old:
            del self._met[id_]

    def is_to_be_told(self, task: str, now: float) -> bool:
        """Whether it is time to say again that this task is unknown here."""
        if now - self._told.get(task, float("-inf")) < _TELL:
            return False
        self._told[task] = now
        self.forget(now)
        return True
