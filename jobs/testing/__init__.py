"""For tests: jobs that run here and now, what was enqueued, another time, any state.

All but the live worker works inside of a `TestCase`'s transaction: everything goes over the
test's own connection.
"""

from .asserting import assert_enqueued, assert_not_enqueued
from .clock import travel
from .inline import immediate, run_beat, run_jobs
from .live import live_worker
from .states import make_job

__all__ = [
    "assert_enqueued",
    "assert_not_enqueued",
    "immediate",
    "live_worker",
    "make_job",
    "run_beat",
    "run_jobs",
    "travel",
]
