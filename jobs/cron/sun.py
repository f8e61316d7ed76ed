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
# Looked for from elsewhere, the same event comes out some seconds off: what is no later than
# this is the one that has just been.
_SAME = timedelta(minutes=2)


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
        """The first tick later than two minutes after `moment`; None when a year has none."""
        ephem = _ephem()
        method, horizon, is_centre = EVENTS[self.event]
        observer = ephem.Observer()
        observer.lat, observer.lon = str(self.latitude), str(self.longitude)
        observer.horizon, observer.elevation, observer.pressure = horizon, 0, 0
        extra = {} if method == "next_transit" else {"use_center": is_centre}
        start = moment.astimezone(UTC)
        for _ in range(_LONGEST_NIGHT):
            observer.date = start.replace(tzinfo=None)
            try:
                found = getattr(observer, method)(ephem.Sun(), **extra).datetime()
            except (ephem.AlwaysUpError, ephem.NeverUpError):
                start += timedelta(days=1)
                continue
            tick: datetime = found.replace(microsecond=0, tzinfo=UTC)
            if tick - moment > _SAME:
                return tick
            start += _SAME
        return None


def _ephem() -> Any:
    """The library, which is optional."""
    try:
        import ephem
    except ImportError:
        raise InvalidSchedule(
            "a solar schedule needs the library ephem: pip install 'django-pgjobs[solar]'"
        ) from None
    return ephem
