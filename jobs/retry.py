"""How long to wait before the next attempt. Pure: no clock, no database."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

BackoffFunction = Callable[[BaseException, Any], timedelta | float | None]
Backoff = timedelta | BackoffFunction

# With max_attempts unset, one attempt; four for a task that asks for retries.
ATTEMPTS = 1
ATTEMPTS_WITH_RETRIES = 4

_BASE = timedelta(seconds=5)
_CAP = timedelta(minutes=10)


def exponential(failures: int) -> timedelta:
    """Full jitter over min(5 s · 2^(failures−1), 10 min), after the given failure.

    Full jitter spreads a crowd of jobs that failed together over the whole interval;
    see "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    # Beyond seven doublings the cap rules; a larger power would only overflow.
    ceiling: timedelta = min(_BASE * 2 ** min(failures - 1, 7), _CAP)
    return ceiling * random.random()  # noqa: S311  (spreading load, not keeping secrets)


def delay_after(
    exception: BaseException, failures: int, backoff: Backoff | None, context: object
) -> timedelta | None:
    """The delay before the next attempt, or None when `backoff` says that there is none.

    A callable `backoff(exception, context)` answers with a timedelta, with seconds (as
    Django's proposal for retries has it), or with None for "give up".
    """
    if backoff is None:
        return exponential(failures)
    if isinstance(backoff, timedelta):
        return backoff
    answer = backoff(exception, context)
    if answer is None or isinstance(answer, timedelta):
        return answer
    return timedelta(seconds=answer)
