"""What is done to more jobs than a request should wait for: by a job of its own, which is watched
and stopped as any other. Where it has come to is kept with each part, in its transaction: whatever
is killed when, each part is done once.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.contrib.admin.sites import all_sites
from django.contrib.auth import get_user_model
from django.core.signing import Signer
from django.db import transaction
from django.db.models.functions import Now
from django.http import HttpRequest, QueryDict
from django.urls import get_resolver

from jobs import codec, conf, lifecycle
from jobs.errors import JobsError
from jobs.execution import Context
from jobs.models import AttemptOutcome, Job, Worker
from jobs.tasks import Task, configured
from jobs.tasks import task as as_task

from . import every
from .asked import SPANS
from .listing import JobChangeList
from .verbs import VERBS

# In the job's metadata.
_PLACE = "bulk"
# More than these are done in the background.
AT_ONCE = 2_000
# In there a statement may take longer, in milliseconds.
_PATIENCE = 60_000


class Refused(JobsError):
    """It is not to be done, now or later."""


@as_task(
    takes_context=True,
    priority=50,
    max_attempts=3,
    dont_retry_on=(Refused,),
    sensitive=("said", "signature"),
)
def bulk(
    context: Context,
    *,
    verb: str,
    said: dict[str, Any],
    query: str,
    site: str,
    user: int,
    seen_at: datetime,
    means: str,
    total: int | None,
    signature: str,
) -> int:
    """Do to all jobs that match a list's address what somebody has confirmed; to how many it was
    done. It is done as that person, who must still be allowed to."""
    confirmed = [verb, said, query, site, user, seen_at, means]
    if signature != _signature(confirmed) or lifecycle.AGAIN_OF in context.metadata:
        # Who may run jobs again, or let schedules enqueue any, is not therefore allowed this.
        raise Refused("nobody has confirmed this: choose the jobs in the list anew")
    if context.job.history.filter(outcome=AttemptOutcome.CANCELLED).exists():
        # Nor who may retry jobs.
        raise Refused("somebody has stopped this: choose the jobs in the list anew")
    request = _request(site, query, user)
    what = VERBS[verb]
    model_admin = _model_admin(site)
    if not getattr(model_admin, f"has_{what.permission}_permission")(request):
        raise Refused(f"{request.user} may not {verb} jobs any more")
    listed = model_admin.get_changelist_instance(request)
    assert isinstance(listed, JobChangeList)
    if _meaning(listed) != means:
        # A search that finds other tasks by now, a filter that this person may not use any more.
        raise Refused("what was asked for means something else by now: choose the jobs anew")
    alias, by = listed.root_queryset.db, request.user.get_username()
    place = context.metadata.get(_PLACE) or {}
    count, after = int(place.get("done", 0)), str(place.get("after", ""))
    is_over = bool(place.get("is_over"))
    found = every.parts(listed, what, said, seen_at, after=after, milliseconds=_PATIENCE)
    while not is_over:
        context.set_progress(count, total)
        with transaction.atomic(using=alias):
            # First of all: whoever else thinks that he has this job waits here, and is refused.
            lifecycle.note(context.job_id, context.attempt, {}, using=alias)
            part = next(found)
            if part.is_cut and part.after == after:
                raise Refused("looking for jobs that match takes too long: ask for fewer")
            count += every.do(listed, what, part, by, said)
            after, is_over = part.after, not part.after
            noted = {"done": count, "after": after, "is_over": is_over}
            lifecycle.note(context.job_id, context.attempt, {_PLACE: noted}, using=alias)
    every.write_down(user, listed, what, said, count)
    context.set_progress(count, count)
    return count


def start(
    listed: JobChangeList,
    request: HttpRequest,
    verb: str,
    said: dict[str, Any],
    seen_at: datetime,
    total: int | None,
) -> Job[Any]:
    """Enqueue it."""
    user_id = request.user.pk
    assert user_id is not None
    query, site = _fixed(request.GET, seen_at), listed.model_admin.admin_site.name
    again = listed.model_admin.get_changelist_instance(_request(site, query, user_id))
    assert isinstance(again, JobChangeList)
    means = _meaning(again)
    signature = _signature([verb, said, query, site, user_id, seen_at, means])
    if (same := _under_way(signature)) is not None:
        # Somebody has clicked twice.
        return same
    job = _task().enqueue(
        verb=verb,
        said=said,
        query=query,
        site=site,
        user=user_id,
        seen_at=seen_at,
        means=means,
        total=total,
        signature=signature,
    )
    every.write_down(user_id, listed, VERBS[verb], said, None, f"begun, by the job {job.pk}")
    return job


def _under_way(signature: str) -> Job[Any] | None:
    """The job that does just this, if it has not ended."""
    task, jobs = _task(), Job.objects.using(conf.settings().database)
    in_line = jobs.queued().filter(queue_name=task.queue_name, priority=task.priority)
    for rows in (in_line, jobs.running()):
        same = rows.filter(task=task.name, arguments__kwargs__signature=signature).first()
        if same is not None:
            return same
    return None


def _fixed(query: QueryDict, seen_at: datetime) -> str:
    """ "Of the last hour" is of the hour before the page was shown, whenever it is done."""
    fixed = query.copy()
    for within in fixed.pop("within", ()):
        if span := SPANS.get(str(within)):
            since = (seen_at - span).isoformat()
            fixed["since"] = max(since, fixed.get("since") or since)
    return fixed.urlencode()


def _meaning(listed: JobChangeList) -> str:
    """What is looked for, as this list understands its address."""
    return repr(listed.asked)


def _signature(confirmed: list[Any]) -> str:
    text = json.dumps(codec.encode(confirmed, "what was confirmed"), sort_keys=True)
    return Signer(salt=__name__).signature(text)


def is_served() -> bool:
    """Whether a worker is there that would run it."""
    alias, name = conf.settings().database, _task().queue_name
    heard = Now() - conf.settings().heartbeat_timeout
    workers = Worker.objects.using(alias).filter(heartbeat_at__gt=heard, stopping=False)
    return any(worker.serves(name) for worker in workers)


def _task() -> Task[..., Any]:
    """In a queue that the site has."""
    made = configured(bulk)
    queues = conf.settings().queues
    if queues and made.queue_name not in queues:
        return made.using(queue_name=queues[0])
    return made


def _request(site: str, query: str, user: int) -> HttpRequest:
    """As the one that asked for it."""
    request = HttpRequest()
    request.method = "GET"
    request.GET = QueryDict(query)
    found = get_user_model()._default_manager.filter(pk=user, is_active=True).first()
    if found is None:
        raise Refused("whoever asked for it is not there any more")
    request.user = found
    request.current_app = site
    return request


def _model_admin(site: str) -> Any:
    # A site of the admin may be made where its addresses are.
    list(get_resolver().url_patterns)
    for one in all_sites:
        if one.name == site and one.is_registered(Job):
            return one._registry[Job]
    raise LookupError(f"the site has no admin {site!r} that shows jobs")
