"""What PostgreSQL keeps and Python reads: bounds of moments and delays, plain text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

# A schedule's moments, and the last moment that a job may be due or expire.
FIRST_MOMENT, LAST_MOMENT = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
# What any column may hold: a year that Python can read in every time zone. Held by CHECKs.
FIRST_KEPT, LAST_KEPT = datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
# The longest delay, time limit or expiry of a job.
LONGEST_DELAY = timedelta(days=365_000)
# Attempts and losses that a job may have: below the column's smallint.
MOST_ATTEMPTS = 32_000
# Claims of one job: below the column's integer, so that the next claim is never out of range.
MOST_CLAIMS = 2_000_000_000


def check_delay(delay: Any, what: str) -> timedelta:
    """Return the delay, or raise TypeError or ValueError naming `what` and the bounds."""
    if not isinstance(delay, timedelta):
        raise TypeError(f"{what} is {delay!r}; it must be a timedelta")
    if delay > LONGEST_DELAY:
        years = delay.days // 365
        raise ValueError(f"{what} is {years:,} years; it must be 1,000 years at most")
    return delay


def check_moment(moment: Any, what: str) -> datetime:
    """Return the moment, or raise TypeError or ValueError naming `what` and the bounds."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise TypeError(f"{what} is {moment!r}; it must be a datetime with a time zone")
    if moment > LAST_MOMENT:
        raise ValueError(f"{what} is {moment}; it must not be after the year {LAST_MOMENT.year}")
    return moment


def is_text(value: Any) -> bool:
    """Return whether PostgreSQL can keep the value as text: no NUL, no half of a surrogate pair."""
    if not isinstance(value, str) or "\x00" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(value: Any, what: str, longest: int | None = None) -> str:
    """Return the text, or raise TypeError or ValueError naming `what` and the cure."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r}; it must be a text")
    if not is_text(value):
        raise ValueError(
            f"{what} contains a NUL character or half of a surrogate pair, which PostgreSQL cannot "
            "keep; decode or strip it first"
        )
    if longest is not None and len(value) > longest:
        raise ValueError(f"{what} has {len(value)} characters; it may have {longest}")
    return value
