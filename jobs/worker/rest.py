"""How long a runner that finds no work rests between two looks. Pure: the caller has the clock.

It lingers with quick looks, then says that it sleeps, and then looks ever more rarely. Looking
again from 5 ms on after falling asleep finds the job whose transaction was open just then: its
producer saw nobody asleep, and notified nobody.
"""

from __future__ import annotations

# All in seconds.
_LINGER = 0.1
_FIRST_LINGERING, _LONGEST_LINGERING = 0.002, 0.02
_FIRST_SLEEPING = 0.005


class Rest:
    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._since: float | None = None
        self._pause = 0.0
        # Whether producers have been asked for notifications.
        self.is_asleep = False

    @property
    def since(self) -> float:
        """When it began; it has to have begun."""
        assert self._since is not None
        return self._since

    @property
    def has_begun(self) -> bool:
        return self._since is not None

    def begin(self, now: float) -> None:
        self._since, self._pause = now, _FIRST_LINGERING

    def end(self) -> None:
        """There was work."""
        self._since = None

    def wake(self) -> None:
        """Somebody has rung: look often again, for a while."""
        self._pause = _FIRST_SLEEPING

    def wants_to_sleep(self, now: float) -> bool:
        """Whether it is time to ask for notifications."""
        return not self.is_asleep and self._since is not None and now - self._since >= _LINGER

    def fall_asleep(self) -> None:
        self.is_asleep, self._pause = True, _FIRST_SLEEPING

    def next_pause(self) -> float:
        """Until the next look; twice as long each time."""
        pause = self._pause if self.is_asleep else min(self._pause, _LONGEST_LINGERING)
        self._pause = min(self._pause * 2, self._longest)
        return pause
