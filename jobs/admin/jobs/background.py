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
from django.core.exceptions import PermissionDenied
from django.core.signing import Signer
from django.db import transaction
from django.db.models.functions import Now
from django.http import HttpRequest, QueryDict

from jobs import codec, conf, lifecycle
from jobs.errors import JobsError
from jobs.execution import Context
from jobs.models import Job, Worker
from jobs.tasks import Task, configured
from jobs.tasks import task as as_task

from . import every
from .listing import JobChangeList
from .verbs import VERBS

# In the job's metadata.
_PLACE = "bulk"
# More than these are done in the background.
AT_ONCE = 2_000
# In there a statement may take longer, in milliseconds.
_PATIENCE = 60_000


@as_task(takes_context=True, priority=50, max_attempts=3, sensitive=("signature",))
def bulk(
    context: Context,
    *,
    verb: str,
    said: dict[str, Any],
    query: str,
    site: str,
    user: int,
    seen_at: datetime,
    total: int | None,
    signature: str,
) -> int:
    """Do to all jobs that match a list's address what somebody has confirmed; to how many it was
    done. It is done as that person, who must still be allowed to."""
    confirmed = [verb, said, query, site, user, seen_at]
    if signature != _signature(confirmed) or lifecycle.AGAIN_OF in context.metadata:
        # Who may run jobs again, or let schedules enqueue any, is not therefore allowed this.
        raise PermissionDenied("nobody has confirmed this: choose the jobs in the list anew")
    request = _request(site, query, user)
    what = VERBS[verb]
    model_admin = _model_admin(site)
    if not getattr(model_admin, f"has_{what.permission}_permission")(request):
        raise PermissionDenied(f"{request.user} may not {verb} jobs any more")
    listed = model_admin.get_changelist_instance(request)
    assert isinstance(listed, JobChangeList)
    alias, by = listed.root_queryset.db, request.user.get_username()
    place = context.metadata.get(_PLACE) or {}
    count, after = int(place.get("done", 0)), str(place.get("after", ""))
    found = every.parts(listed, what, said, seen_at, after=after, milliseconds=_PATIENCE)
    while True:
        context.set_progress(count, total)
        with transaction.atomic(using=alias):
            part = next(found, None)
            if part is None:
                break
            if part.is_cut and part.after == after:
                raise TooSlow("looking for jobs that match takes too long: ask for fewer")
            after = part.after
            count += every.do(listed, what, part, by, said)
            lifecycle.note(context.job_id, {_PLACE: {"done": count, "after": after}}, using=alias)
    every.write_down(user, listed, what, said, count)
    context.set_progress(count, count)
    return count


class TooSlow(JobsError):
    """No statement came to an end in its time."""


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
    query, site = request.GET.urlencode(), listed.model_admin.admin_site.name
    return _task().enqueue(
        verb=verb,
        said=said,
        query=query,
        site=site,
        user=user_id,
        seen_at=seen_at,
        total=total,
        signature=_signature([verb, said, query, site, user_id, seen_at]),
    )


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
        raise PermissionDenied("whoever asked for it is not there any more")
    request.user = found
    request.current_app = site
    return request


def _model_admin(site: str) -> Any:
    for one in all_sites:
        if one.name == site and one.is_registered(Job):
            return one._registry[Job]
    raise LookupError(f"the site has no admin {site!r} that shows jobs")
