"""One line of the log for each attempt that went wrong: at ERROR if the job has failed with it.
Nothing is said of what went well, and of what somebody has silenced at INFO only."""

from __future__ import annotations

import logging
import re
from urllib.parse import urlencode

from jobs import conf, frames
from jobs.lifecycle import LOST_CLASS, Claimed, Rescued, kind_of
from jobs.models import State
from jobs.outcomes import LOST, Cancelled, Failed, Outcome, Problem, Retried, TakenOver

logger = logging.getLogger("jobs")


def tell_outcome(job: Claimed, outcome: Outcome, *, quietly: bool = False) -> None:
    match outcome:
        case Failed(problem, reason):
            level = logging.INFO if quietly else logging.ERROR
            _tell(level, job, "failed", problem, reason)
        case Retried(problem, delay, reason):
            again = f"failed, again in {delay.total_seconds():.1f} s"
            level = logging.INFO if quietly else logging.WARNING
            _tell(level, job, again, problem, reason)
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


def tell_loss(job: Rescued, note: str, *, quietly: bool = False) -> None:
    """Of a job whose process died."""
    has_failed = job.state == State.FAILED
    level = logging.ERROR if has_failed else logging.WARNING
    kind = frames.fingerprint(LOST_CLASS, "")
    logger.log(
        logging.INFO if quietly else level,
        "%s lost its process (%s), and %s (job %s)%s",
        job.task,
        note,
        "has failed" if has_failed else "runs again" if job.state == State.QUEUED else job.state,
        job.id,
        _links(job.id, job.task, kind),
        extra={"job_id": job.id, "task": job.task, "reason": LOST, "kind": kind},
    )


def _links(job_id: str, task: str, kind: str) -> str:
    """Where the job is shown, and the failures of its kind."""
    admin = conf.settings().admin_url
    if not admin:
        return ""
    base = f"{admin.rstrip('/')}/jobs/job"
    query = urlencode({"task": task})
    return f" {base}/{job_id}/change/ {base}/kinds/{kind}/?{query}"


def _where(problem: Problem) -> str:
    """The site's innermost own line, or else the innermost of all; its path kept short."""
    own = frames.own(problem.traceback)
    if own:
        path, line = own[-1].path, str(own[-1].line)
    else:
        found = re.findall(r'^  File "(.+)", line (\d+)', problem.traceback, re.M)
        if not found:
            return ""
        path, line = found[-1]
    return f", {'/'.join(path.split('/')[-2:])}:{line}"


def _tell(level: int, job: Claimed, what: str, problem: Problem, reason: str) -> None:
    kind = kind_of(problem)
    logger.log(
        level,
        "%s %s: %s: %s%s (job %s, attempt %s)%s",
        job.task,
        what,
        problem.exception_class.rpartition(".")[2],
        problem.message.partition("\n")[0],
        _where(problem),
        job.id,
        job.attempt,
        _links(job.id, job.task, kind),
        extra={
            "job_id": job.id,
            "task": job.task,
            "attempt": job.attempt,
            "reason": reason,
            "kind": kind,
        },
    )
