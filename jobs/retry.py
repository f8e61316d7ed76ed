"""How long to wait before the next attempt. Pure: no clock, no database."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jobs.bounds import LONGEST_DELAY, check_delay

BackoffFunction = Callable[[BaseException, Any], timedelta | float | None]
Backoff = timedelta | BackoffFunction

# With max_attempts unset, one attempt; four for a task that asks for retries.
ATTEMPTS = 1
ATTEMPTS_WITH_RETRIES = 4


@dataclass(frozen=True, slots=True)
class Exponential:
    """A back-off whose delay grows by `factor` with each failure; see `exponential`."""

    base: timedelta
    factor: float
    maximum: timedelta
    jitter: float

    def __call__(self, exception: BaseException, context: Any) -> timedelta:
        return self.delay(context.failures + 1)

    def delay(self, failures: int) -> timedelta:
        """Return the delay after so many failures, from 1 on."""
        try:
            ceiling = self.base.total_seconds() * self.factor ** (failures - 1)
        except OverflowError:
            ceiling = math.inf
        seconds = min(ceiling, self.maximum.total_seconds())
        # Spreading load, not keeping secrets.
        return timedelta(seconds=seconds * (1.0 - self.jitter * random.random()))  # noqa: S311


def exponential(
    base: timedelta = timedelta(seconds=5),
    factor: float = 2.0,
    maximum: timedelta = timedelta(minutes=10),
    jitter: float = 1.0,
) -> Exponential:
    """Return a back-off for `@task(backoff=…)`: min(base · factor^(failures−1), maximum).

    `jitter` is the share of the delay that is drawn at random: 1 (or True) spreads jobs that failed
    together over the whole delay, 0 (or False) over nothing. The default is what tasks without a
    back-off have; see "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. Raises
    ValueError for values that make no back-off.
    """
    for name, value in (("base", base), ("maximum", maximum)):
        if not isinstance(value, timedelta) or value < timedelta(0) or value > LONGEST_DELAY:
            raise ValueError(
                f"exponential: {name} is {value!r}; it must be a timedelta, zero or more"
            )
    if not isinstance(factor, int | float) or not 1.0 <= factor < math.inf:
        raise ValueError(f"exponential: factor is {factor!r}; it must be a number of 1 or more")
    if not isinstance(jitter, int | float) or not 0.0 <= jitter <= 1.0:
        raise ValueError(f"exponential: jitter is {jitter!r}; it must be from 0 to 1")
    return Exponential(base, float(factor), maximum, float(jitter))


_DEFAULT = exponential()


def delay_after_kill(failures: int, backoff: Backoff | None) -> timedelta:
    """Return the delay after an attempt that had to be killed, which has no exception to show to a
    back-off of the task's own: the default then."""
    if isinstance(backoff, timedelta):
        return backoff
    return (backoff if isinstance(backoff, Exponential) else _DEFAULT).delay(failures)


def delay_after(
    exception: BaseException, failures: int, backoff: Backoff | None, context: object
) -> timedelta | None:
    """The delay before the next attempt, or None when `backoff` says that there is none.

    A callable `backoff(exception, context)` answers with a timedelta, with seconds (as
    Django's proposal for retries has it), or with None for "give up".
    """
    if backoff is None:
        return _DEFAULT.delay(failures)
    if isinstance(backoff, timedelta):
        return backoff
    answer = backoff(exception, context)
    if answer is None:
        return None
    delay = answer if isinstance(answer, timedelta) else timedelta(seconds=answer)
    return max(timedelta(0), check_delay(delay, "the delay that the back-off returned"))
