"""How an attempt ended, as values. `execution` returns one, `lifecycle` writes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

# Why a job ended or an attempt went wrong: stable codes, translated on display only.
TIMEOUT = "timeout"
EXPIRED = "expired"
LOST = "lost"
CANCELLED = "cancelled"
# PostgreSQL refused to keep how it ended.
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Problem:
    """An exception as text: what is kept of it in the database."""

    exception_class: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Succeeded:
    """`result` is JSON, or None for None and for results that are not kept."""

    result: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The last failure that the job may have."""

    problem: Problem
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Retried:
    """A failure after which the job runs again, `delay` from now."""

    problem: Problem
    delay: timedelta
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Snoozed:
    """Not now: the job is asked again, `delay` from now, and nothing is counted."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job ended without a result, on purpose."""

    problem: Problem
    reason: str = CANCELLED


@dataclass(frozen=True, slots=True)
class Released:
    """Claimed, but given back before it started; nothing is counted, no attempt is kept.

    With a delay it is not for this worker, and others have the first choice.
    """

    delay: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Committed:
    """The attempt committed its own finish together with its work (`atomic=True`)."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The attempt's claim was no longer its own, so nothing of it was written."""


Outcome = Succeeded | Failed | Retried | Snoozed | Cancelled | Released | Committed | TakenOver
