"""Jobs in any state, as if they had come so far: for tests of pages, alarms and statistics."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models.functions import Now

from jobs import codec, conf, frames, ids
from jobs.models import Attempt, Claim, Job, State
from jobs.outcomes import CANCELLED
from jobs.tasks import as_task

_WORKER = "tests/1"


def make_job(
    task: Any = "tests.example",
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    state: str = State.QUEUED,
    result: Any = None,
    error: BaseException | None = None,
    **columns: Any,
) -> Job[Any]:
    """A job in that state, with what belongs to it: a claim where it runs, an attempt where it
    has failed or `error` is given, moments and a worker where it has started.

    `task` is a task, a function, or a name, of which there need be none. `columns` are the row's
    own, over what the state says: run_at, queue_name, priority, progress_done …
    """
    alias = conf.settings().database
    state = State(state)
    error = error or (ValueError("made for a test") if state == State.FAILED else None)
    call = {"args": list(args), "kwargs": dict(kwargs or {})}
    values: dict[str, Any] = {
        "task": task if isinstance(task, str) else as_task(task).name,
        "arguments": codec.encode(call, "the arguments"),
        "state": state,
        "claimable": state == State.QUEUED,
        "waiting_since": Now() if state == State.WAITING else None,
        **_started(state, error),
        **_ended(state),
    }
    if state == State.SUCCEEDED:
        values["result"] = codec.encode(result, "the result")
    [made] = Job.objects.using(alias).bulk_create([Job(**(values | columns))])
    if state == State.RUNNING:
        Claim.objects.using(alias).create(
            id=made.claim, worker_id=ids.uuid7(), runner=ids.uuid7(), ids=[made.pk]
        )
    if error is not None:
        Attempt.objects.using(alias).create(**_attempt(made, error))
    made.refresh()
    return made


def _started(state: State, error: BaseException | None) -> dict[str, Any]:
    has_failed = state == State.FAILED or (state == State.QUEUED and error is not None)
    if state in (State.WAITING, State.QUEUED, State.CANCELLED) and not has_failed:
        return {}
    return {
        "claim": ids.uuid7(),
        "worker": _WORKER,
        "attempt": 1,
        "last_attempted_at": Now(),
        "failures": int(has_failed),
    }


def _ended(state: State) -> dict[str, Any]:
    if state == State.FAILED:
        return {"finished_at": Now(), "failed_at": Now()}
    if state == State.CANCELLED:
        return {"finished_at": Now(), "cancelled_at": Now(), "reason": CANCELLED}
    return {"finished_at": Now()} if state == State.SUCCEEDED else {}


def _attempt(job: Job[Any], error: BaseException) -> dict[str, Any]:
    kind = type(error)
    path = f"{kind.__module__}.{kind.__qualname__}"
    told = "".join(traceback.format_exception(error))
    return {
        "job_id": job.pk,
        "attempt": job.attempt or 1,
        "outcome": "failed" if job.state == State.FAILED else "retried",
        "worker": _WORKER,
        "started_at": Now(),
        "finished_at": Now(),
        "exception_class_path": path,
        "message": str(error),
        "traceback": told,
        "fingerprint": frames.fingerprint(path, told),
    }
