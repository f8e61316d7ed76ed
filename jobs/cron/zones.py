"""Time zones by name, from a tz database that may be replaced while a beat runs."""

from __future__ import annotations

import importlib.util
import zoneinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jobs.errors import InvalidSchedule


def zone(name: str) -> ZoneInfo:
    """The IANA zone of that name, or InvalidSchedule."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidSchedule(f"there is no time zone {name!r}") from None


class Zones:
    """Sees when files of zones are replaced, as by an update of the system.

    Python keeps a zone, once read, for the life of the process.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int, int] | None] = {}

    def have_changed(self, names: set[str]) -> bool:
        """Whether a zone of these is another than when it was last asked about; those are read
        anew from now on."""
        now = {name: _stamp(name) for name in names}
        changed = {name for name in names & self._seen.keys() if self._seen[name] != now[name]}
        self._seen |= now
        if changed:
            ZoneInfo.clear_cache(only_keys=changed)
        return bool(changed)


def _stamp(name: str) -> tuple[int, int, int] | None:
    for folder in _folders():
        try:
            found = (folder / name).stat()
        except OSError:
            continue
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None


def _folders() -> list[Path]:
    """Where zoneinfo looks, in its order: the system's, then the package tzdata."""
    package = importlib.util.find_spec("tzdata")
    own = package.submodule_search_locations if package is not None else None
    return [Path(path) for path in zoneinfo.TZPATH] + [Path(path, "zoneinfo") for path in own or ()]
