"""Signals: what happens to jobs, told in the process where it happens.

The sender is the task as `@task` made it; of a function that is no task of ours, the function.
What must follow a job's end, whatever dies meanwhile, is a callback (`@task(on_finish=…)`): a
job of its own.
"""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import Signal

from .errors import JobCancelled, JobTimeout

logger = logging.getLogger("jobs")

# In the caller's transaction, behind `enqueue` (job) and `enqueue_many` (ids). As with the
# signals of models, what a receiver raises is the caller's.
job_enqueued = Signal()
jobs_enqueued = Signal()

# In the worker, beside the task and outside of its transaction. What a receiver raises is
# logged, and hurts nobody.
#
# context: an attempt starts.
job_started = Signal()
# context, state (succeeded, failed or cancelled), exception (or None): the job's last attempt
# has ended, and its end is about to be recorded.
job_finished = Signal()
# context, exception, delay: an attempt has failed, and another follows after the delay.
job_retried = Signal()

# In a runner process, in its main thread. runner: its name, as it stands on its jobs.
#
# It was forked from the supervisor and is about to run jobs: threads of the supervisor, as a
# QueueListener's, are not here, and generators of random numbers that were seeded at import are
# copies of each other's.
runner_started = Signal()
# Its last job has ended, and the process ends; not sent when the process is killed.
runner_stopping = Signal()


def tell(signal: Signal, sender: Any, **named: Any) -> None:
    """Send it; what a receiver raises, SystemExit too, is logged. But an interruption of the
    job is the job's."""
    try:
        signal.send_robust(sender=sender, **named)
    except (JobTimeout, JobCancelled):
        raise
    except KeyboardInterrupt:
        # Ctrl-C, where a test runs the job where it stands.
        if getattr(named.get("context"), "is_inline", False):
            raise
        logger.exception("a receiver of a signal raised")
    except BaseException:
        logger.exception("a receiver of a signal raised")
