"""From a line of the file to an Airport, or the reason why not. No database here."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from typing import IO
from zoneinfo import available_timezones

from .models import Airport

COLUMNS = ("iata", "name", "city", "country", "elevation", "lat", "lon", "tz")
_ZONES = available_timezones()


class LineRefused(ValueError):
    """The line cannot be an airport; the message says why."""


def missing_columns(file: IO[str]) -> list[str]:
    """The columns that the file's first line lacks."""
    header = next(csv.reader(file), [])
    return [column for column in COLUMNS if column not in header]


def count(file: IO[str]) -> int:
    """How many lines follow the header."""
    return sum(1 for _ in csv.DictReader(file))


def between(file: IO[str], start: int, stop: int) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines `start` to `stop`, numbered as an editor does: the header is line 1."""
    rows = itertools.islice(csv.DictReader(file), start, stop)
    return ((start + 2 + i, row) for i, row in enumerate(rows))


def parse(row: dict[str, str]) -> Airport:
    """The airport in a line; LineRefused."""
    code, country = row["iata"], row["country"]
    if not (len(code) == 3 and code.isalnum()):
        raise LineRefused(f"{code!r} is no IATA code")
    if not (len(country) == 2 and country.isupper()):
        raise LineRefused(f"{country!r} is no country code")
    if row["tz"] not in _ZONES:
        raise LineRefused(f"there is no time zone {row['tz']!r}")
    return Airport(
        code=code,
        name=row["name"],
        city=row["city"],
        country=country,
        elevation=_feet(row["elevation"]),
        latitude=_degrees(row["lat"], 90),
        longitude=_degrees(row["lon"], 180),
        timezone=row["tz"],
    )


def _feet(text: str) -> int:
    try:
        return round(float(text))
    except ValueError:
        raise LineRefused(f"the elevation {text!r} is no number of feet") from None


def _degrees(text: str, most: int) -> float:
    try:
        value = float(text)
    except ValueError:
        raise LineRefused(f"{text!r} is no number of degrees") from None
    if not -most <= value <= most:
        raise LineRefused(f"{text} lies beyond {most} degrees")
    # A tenth of a degree is up to eleven kilometres: that is no place to land.
    if len(text.partition(".")[2]) < 2:
        raise LineRefused(f"the position {text} is given to less than a hundredth of a degree")
    return value
