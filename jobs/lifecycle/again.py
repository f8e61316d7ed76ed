"""Again: a job like another one, queued beside it; the other stays what it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.db import DEFAULT_DB_ALIAS

from jobs import codec, ids
from jobs.bounds import check_text
from jobs.models import Job

from .insert import Draft, insert

# In the new job's metadata: which it repeats, who wanted it, and what he changed.
AGAIN_OF, BY, CHANGED = "again_of", "enqueued_by", "changed"


def again(
    job: Job[Any],
    *,
    by: str = "",
    arguments: Mapping[str, Any] | None = None,
    changed: Collection[str] = (),
) -> Job[Any]:
    """Queue a job with the same task, arguments and options, due at once, in the caller's
    transaction; it names the one that it repeats.

    Or with other arguments, which the caller has checked, and what was changed of them.
    """
    check_text(by, "by", 255)
    alias = job._state.db or DEFAULT_DB_ALIAS
    # SQL may have put anything there.
    kept = job.metadata if isinstance(job.metadata, dict) else {}
    before = {key: value for key, value in kept.items() if key != CHANGED}
    metadata = {**before, AGAIN_OF: str(job.pk)} | ({BY: by} if by else {})
    if changed:
        metadata[CHANGED] = list(changed)
    draft = Draft(
        task=job.task,
        queue_name=job.queue_name,
        priority=job.priority,
        max_losses=job.max_losses,
        max_attempts=job.max_attempts,
        timeout=job.timeout,
        # As long as the other one had, from its enqueuing on.
        expires_after=None if job.expires_at is None else job.expires_at - job.enqueued_at,
        metadata=codec.dumps(metadata),
    )
    id_ = ids.uuid7()
    insert(
        draft, [id_], [codec.dumps(job.arguments if arguments is None else arguments)], using=alias
    )
    return Job.objects.using(alias).get(pk=id_)
