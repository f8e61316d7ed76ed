"""Again: a job like another one, queued beside it; the other stays what it is."""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS

from jobs import codec, ids
from jobs.models import Job

from .insert import Draft, insert

# In the new job's metadata: which it repeats, and who wanted it.
AGAIN_OF, BY = "again_of", "enqueued_by"


def again(job: Job[Any], *, by: str = "") -> Job[Any]:
    """Queue a job with the same task, arguments and options, due at once, in the caller's
    transaction; it names the one that it repeats."""
    alias = job._state.db or DEFAULT_DB_ALIAS
    # SQL may have put anything there.
    kept = job.metadata if isinstance(job.metadata, dict) else {}
    metadata = {**kept, AGAIN_OF: str(job.pk)} | ({BY: by} if by else {})
    draft = Draft(
        task=job.task,
        queue_name=job.queue_name,
        priority=job.priority,
        max_losses=job.max_losses,
        max_attempts=job.max_attempts,
        timeout=job.timeout,
        metadata=codec.dumps(metadata),
    )
    id_ = ids.uuid7()
    insert(draft, [id_], [codec.dumps(job.arguments)], using=alias)
    return Job.objects.using(alias).get(pk=id_)
