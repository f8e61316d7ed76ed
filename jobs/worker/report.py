"""One line of the log for each attempt that went wrong: at ERROR if the job has failed with it.
Nothing is said of what went well."""

from __future__ import annotations

import logging
import re

from jobs import frames
from jobs.lifecycle import Claimed, Rescued
from jobs.models import State
from jobs.outcomes import LOST, Cancelled, Failed, Outcome, Problem, Retried, TakenOver

logger = logging.getLogger("jobs")


def tell_outcome(job: Claimed, outcome: Outcome) -> None:
    match outcome:
        case Failed(problem, reason):
            _tell(logging.ERROR, job, "failed", problem, reason)
        case Retried(problem, delay, reason):
            again = f"failed, again in {delay.total_seconds():.1f} s"
            _tell(logging.WARNING, job, again, problem, reason)
        case Cancelled(problem, reason):
            _tell(logging.INFO, job, "cancelled", problem, reason)
        case TakenOver():
            logger.warning(
                "%s was taken over by another worker, and its outcome not written "
                "(job %s, attempt %s)",
                job.task,
                job.id,
                job.attempt,
            )


def tell_loss(job: Rescued, note: str) -> None:
    """Of a job whose process died."""
    has_failed = job.state == State.FAILED
    logger.log(
        logging.ERROR if has_failed else logging.WARNING,
        "%s lost its process (%s), and %s (job %s)",
        job.task,
        note,
        "has failed" if has_failed else "runs again" if job.state == State.QUEUED else job.state,
        job.id,
        extra={"job_id": job.id, "task": job.task, "reason": LOST},
    )


def _where(problem: Problem) -> str:
    """The innermost line of the traceback, its path kept short."""
    frames = re.findall(r'^  File "(.+)", line (\d+)', problem.traceback, re.M)
    if not frames:
        return ""
    path, line = frames[-1]
    return f", {'/'.join(path.split('/')[-2:])}:{line}"


def _tell(level: int, job: Claimed, what: str, problem: Problem, reason: str) -> None:
    logger.log(
        level,
        "%s %s: %s: %s%s (job %s, attempt %s)",
        job.task,
        what,
        problem.exception_class.rpartition(".")[2],
        problem.message.partition("\n")[0],
        _where(problem),
        job.id,
        job.attempt,
        extra={
            "job_id": job.id,
            "task": job.task,
            "attempt": job.attempt,
            "reason": reason,
            "kind": frames.fingerprint(problem.exception_class, problem.traceback),
        },
    )
