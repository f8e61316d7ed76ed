"""The page of failures by their kind: the same error in the same places of the site's own code."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import OperationalError, connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jobs import conf, frames
from jobs.lifecycle.statements import read_all
from jobs.models import Attempt, Silence, State

from .. import pausing
from ..payload import may_view_payload
from ..pictures import Column, bars
from ..places import Places, asked
from ..words import breakable, whole
from .columns import brief_error
from .walk import patiently

if TYPE_CHECKING:
    from . import JobAdmin

_STATEMENTS = read_all(Path(__file__).parent)
# So many failures are looked through, so many kinds shown, of so many hours drawn.
MOST, _SHOWN, _HOURS = 10_000, 50, 24


@dataclass(slots=True)
class Kind:
    task: str
    fingerprint: str
    error: str
    count: int = 0
    # Jobs that have failed with it and not been retried, and those that will be by themselves.
    left: int = 0
    coming: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    # The newest attempt, and its job.
    last_id: int = 0
    job_id: UUID | None = None
    # By hours ago.
    hours: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def key(self) -> tuple[str, str]:
        return self.task, self.fingerprint

    def add(self, row: Any) -> None:
        hours_ago, count, left, coming, first_at, last_at, last_id, job_id = row
        self.count += count
        self.left += left
        self.coming += coming
        self.first_at = min(self.first_at or first_at, first_at)
        self.last_at = max(self.last_at or last_at, last_at)
        if last_id > self.last_id:
            self.last_id, self.job_id = last_id, job_id
        self.hours[hours_ago] += count


def context(model_admin: JobAdmin, request: HttpRequest) -> dict[str, Any]:
    """What the page shows, for `?task=`."""
    task = asked(request, "task")
    places = Places(request)
    silences = {silence.key: silence for silence in silences_now()}
    try:
        kinds = read(task=task)
    except OperationalError:
        kinds, is_cut = [], True
    else:
        is_cut = False
    looked = sum(kind.count for kind in kinds)
    kinds = sorted(
        kinds,
        key=lambda kind: (kind.key in silences, -kind.left, -kind.count, kind.task),
    )[:_SHOWN]
    last = _last(kinds) if may_view_payload(request) else {}
    return {
        **model_admin.admin_site.each_context(request),
        "title": _("Failures by kind"),
        "opts": model_admin.opts,
        "task": task,
        "all_url": places.of("jobs_job_kinds"),
        "kinds": [
            shown(kind, places, last.get(kind.last_id), silences.get(kind.key)) for kind in kinds
        ],
        "looked": whole(looked) if looked >= MOST else "",
        "is_cut": is_cut,
        "may_retry": model_admin.has_retry_permission(request),
        "media": model_admin.media,
    }


def silences_now() -> QuerySet[Silence]:
    """Those that hold."""
    return Silence.objects.using(conf.settings().database).holding()


def read(*, task: str = "", kind: str = "") -> list[Kind]:
    """All of them, or those of a task; or one. OperationalError where it would take too long."""
    alias = conf.settings().database
    parameters = {"most": MOST, "hours": _HOURS, "task": task or None, "kind": kind or None}
    found: dict[tuple[str, str, str], Kind] = {}
    with patiently(alias, scans=True), connections[alias].cursor() as cursor:
        cursor.execute(_STATEMENTS["kinds"], parameters)
        for row in cursor.fetchall():
            key = tuple(row[:3])
            found.setdefault(key, Kind(*key)).add(row[3:])
    return list(found.values())


def _last(kinds: list[Kind]) -> dict[int, Attempt]:
    """The newest attempt of each, with its traceback."""
    ids = [kind.last_id for kind in kinds]
    return Attempt.objects.using(conf.settings().database).in_bulk(ids)


def shown(
    kind: Kind, places: Places, last: Attempt | None, silence: Silence | None
) -> dict[str, Any]:
    """As the templates want it; `last` for who may see that."""
    own = frames.own(last.traceback) if last is not None else []
    # The oldest hour first; what is older still is in none.
    columns = [Column(bad=kind.hours.get(hour, 0)) for hour in reversed(range(_HOURS))]
    filters = {"task": kind.task, "kind": kind.fingerprint}
    failed = places.jobs(state=State.FAILED.value, **filters)
    coming = places.jobs(state=State.QUEUED.value, **filters)
    return {
        "kind": kind,
        "task": breakable(kind.task),
        "task_url": places.of("jobs_job_kinds", task=kind.task),
        "error": brief_error(last) if last is not None else "",
        "where": str(own[-1]) if own else "",
        "count": whole(kind.count),
        "left": whole(kind.left),
        "coming": whole(kind.coming),
        "silence": "" if silence is None else silenced(silence),
        "picture": bars(columns, gettext("failures by the hour, of the last day")),
        "url": places.of("jobs_job_kind", kind.fingerprint, task=kind.task)
        or places.jobs(**filters),
        "jobs_url": places.jobs(**filters),
        "last_url": places.of("jobs_job_change", kind.job_id),
        # One job stands for all: Django's list wants one to be selected.
        # Without a fingerprint, of old rows, it would be all of the task's.
        "retry_url": failed if kind.left and kind.fingerprint else "",
        "cancel_url": coming if kind.coming and kind.fingerprint else "",
        "job_id": kind.job_id,
    }


def silenced(silence: Silence) -> str:
    """By whom, why, and until when."""
    return pausing.told(silence.by, silence.because, silence.until) or gettext("silenced")
