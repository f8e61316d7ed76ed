"""What the sun does at a place: dawns, rises, noons, sets and dusks. ephem computes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from jobs.errors import InvalidSchedule

# By name, as in Celery: whether the sun rises, and how far it stands below the horizon (its
# centre, in degrees); for rise and set its upper edge counts, and the air bends its light.
EVENTS: dict[str, tuple[str, str, bool]] = {
    "dawn_astronomical": ("next_rising", "-18", True),
    "dawn_nautical": ("next_rising", "-12", True),
    "dawn_civil": ("next_rising", "-6", True),
    "sunrise": ("next_rising", "-0:34", False),
    "solar_noon": ("next_transit", "0", True),
    "sunset": ("next_setting", "-0:34", False),
    "dusk_civil": ("next_setting", "-6", True),
    "dusk_nautical": ("next_setting", "-12", True),
    "dusk_astronomical": ("next_setting", "-18", True),
}
# Where the sun neither rises nor sets, it is looked for day by day, for so many days.
_LONGEST_NIGHT = 366
# Past one event, and long before the next.
_STEP = timedelta(minutes=1)


@dataclass(frozen=True)
class Solar:
    """One event of the sun a day, at a place in degrees north and east."""

    event: str
    latitude: float
    longitude: float

    def __post_init__(self) -> None:
        if self.event not in EVENTS:
            raise InvalidSchedule(f"the sun does no {self.event!r}; there are {', '.join(EVENTS)}")
        for name, most in (("latitude", 90), ("longitude", 180)):
            value = getattr(self, name)
            if not (math.isfinite(value) and -most <= value <= most):
                raise InvalidSchedule(f"{name} is {value!r}; it must be from -{most} to {most}")
        _ephem()

    def next_after(self, moment: datetime, default_zone: str) -> datetime | None:
        """The first tick strictly after `moment`, to the second; None when a year has none."""
        moment = moment.astimezone(UTC)
        start = moment
        for _ in range(_LONGEST_NIGHT):
            found = self._event_after(start)
            if found is None:
                start += timedelta(days=1)
                continue
            # Looked for from elsewhere, the same event comes out a tenth of a second off: so it
            # is always looked for from the same place, half a day before.
            noon = (found - timedelta(hours=12)).replace(minute=0, second=0, microsecond=0)
            tick = (self._event_after(noon) or found).replace(microsecond=0)
            if tick > moment:
                return tick
            start = found + _STEP
        return None

    def _event_after(self, start: datetime) -> datetime | None:
        """None: the sun does no such thing on that day."""
        ephem = _ephem()
        method, horizon, is_centre = EVENTS[self.event]
        observer = ephem.Observer()
        observer.lat, observer.lon = str(self.latitude), str(self.longitude)
        observer.horizon, observer.elevation, observer.pressure = horizon, 0, 0
        observer.date = start.replace(tzinfo=None)
        extra = {} if method == "next_transit" else {"use_center": is_centre}
        try:
            found: datetime = getattr(observer, method)(ephem.Sun(), **extra).datetime()
        except (ephem.AlwaysUpError, ephem.NeverUpError):
            return None
        return found.replace(tzinfo=UTC)


def _ephem() -> Any:
    """The library, which is optional."""
    try:
        import ephem
    except ImportError:
        raise InvalidSchedule(
            "a solar schedule needs the library ephem: pip install 'django-pgjobs[solar]'"
        ) from None
    return ephem
