from datetime import timedelta

import pytest

from jobs.retry import delay_after, exponential


@pytest.mark.parametrize(("failures", "ceiling"), [(1, 5), (2, 10), (5, 80), (8, 600), (1000, 600)])
def test_the_default_back_off_is_full_jitter_under_a_doubling_ceiling(
    failures: int, ceiling: int
) -> None:
    delays = [exponential().delay(failures).total_seconds() for _ in range(500)]

    assert 0 <= min(delays) < ceiling * 0.1
    assert ceiling * 0.9 < max(delays) <= ceiling


def test_a_back_off_may_be_a_duration_or_a_function_of_exception_and_context() -> None:
    seen = []

    def backoff(exception: BaseException, context: object) -> float:
        seen.append((exception, context))
        return 2.5

    error = ValueError()

    assert delay_after(error, 1, timedelta(seconds=3), None) == timedelta(seconds=3)
    assert delay_after(error, 1, backoff, "context") == timedelta(seconds=2.5)
    assert seen == [(error, "context")]
    assert delay_after(error, 1, lambda *_: None, None) is None
