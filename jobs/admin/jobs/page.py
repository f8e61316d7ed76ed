"""One job's page: its life on top, then what it was given and gave, its counts, its like."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import OperationalError
from django.http import HttpRequest, JsonResponse
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext

from jobs.models import FINAL, Job, State

from ..payload import folded, may_view_payload, pretty, without_sensitive
from ..pictures import Life, lives
from ..places import Places
from ..words import briefly
from . import life
from .asked import Asked
from .python import as_python, call
from .walk import patiently, walk

if TYPE_CHECKING:
    from . import JobAdmin

# So many jobs of the same task are drawn, of so many that are looked at.
_LIKE, _STEPS = 40, (4_000,)


def living(model_admin: JobAdmin, request: HttpRequest, job: Job[Any]) -> dict[str, Any]:
    """What changes while it lives: its state, its life, and what may be done."""
    places = Places(request)
    progress = job.progress
    percent = None if progress is None else progress.percent
    may_see = may_view_payload(request)
    return {
        "job": job,
        "progress": progress,
        "percent": None if percent is None else round(percent),
        "life": life.of(job, places, with_payload=may_see),
        "may_retry": model_admin.has_retry_permission(request)
        and job.state in (State.FAILED, State.CANCELLED),
        "may_cancel": model_admin.has_cancel_permission(request) and job.state not in FINAL,
        "may_run": model_admin.has_run_permission(request) and job.state in FINAL,
        "retry_url": places.of("jobs_job_retry", job.pk),
        "again_url": places.of("jobs_job_again", job.pk),
        # One job, by the way of many: it says first what will happen.
        "bulk_url": places.of("jobs_job_changelist"),
        "download_url": places.of("jobs_job_download", job.pk),
        "life_url": "" if job.state in FINAL else places.of("jobs_job_life", job.pk),
    }


def whole(model_admin: JobAdmin, request: HttpRequest, job: Job[Any]) -> dict[str, Any]:
    """All that the page shows beside Django's own."""
    context = living(model_admin, request, job)
    if may_view_payload(request):
        context |= {
            "call": folded(call(job)),
            "arguments": pretty(without_sensitive(job.task, job.arguments)),
            "result": pretty(job.result) if job.state == State.SUCCEEDED else "",
            "metadata": pretty(job.metadata) if job.metadata else "",
            "python": as_python(job),
        }
    return context | _like(job, Places(request))


def download(request: HttpRequest, job: Job[Any]) -> JsonResponse:
    """The row and its attempts, as a file. What is sensitive, or payload to who may not see that,
    is not in it."""
    hidden = {"claimable", "claim"}
    if not may_view_payload(request):
        hidden |= {"arguments", "result", "metadata", "progress_message"}
    row = {
        field.attname: getattr(job, field.attname)
        for field in job._meta.concrete_fields
        if field.attname not in hidden
    }
    if "arguments" in row:
        row["arguments"] = without_sensitive(job.task, job.arguments)
    unseen = {"id", "job_id"}
    if not may_view_payload(request):
        unseen |= {"exception_class_path", "message", "traceback"}
    row["attempts"] = [
        {
            field.attname: getattr(attempt, field.attname)
            for field in attempt._meta.concrete_fields
            if field.attname not in unseen
        }
        for attempt in job.history_of_attempts
    ]
    answer = JsonResponse(row, json_dumps_params={"indent": 2, "ensure_ascii": False})
    answer["Content-Disposition"] = f'attachment; filename="job-{job.pk}.json"'
    return answer


def _like(job: Job[Any], places: Places) -> dict[str, Any]:
    """The newest jobs of the same task, as far as they are found in a moment."""
    asked = Asked(tasks=(job.task,))
    try:
        with patiently(job._state.db or "default", milliseconds=500):
            source = asked.source(Job.objects.using(job._state.db))
            found = walk(source, after="", wanted=_LIKE, steps=_STEPS).rows
    except OperationalError:
        found = []
    drawn = [_life(one, places, job) for one in reversed(found)]
    title = gettext("The newest jobs of %(task)s") % {"task": job.task}
    return {
        "like": lives(drawn, title) if len(drawn) > 1 else "",
        "like_url": places.jobs(task=job.task),
        "failed_url": places.jobs(task=job.task, state="failed"),
        "like_count": len(drawn),
        "like_failed": sum(one.kind == State.FAILED for one in drawn),
    }


def _life(job: Job[Any], places: Places, this: Job[Any]) -> Life:
    seconds = None
    if job.last_attempted_at is not None:
        end = job.finished_at or datetime.now(UTC)
        seconds = max(0.0, (end - job.last_attempted_at).total_seconds())
    said = [
        date_format(localtime(job.enqueued_at), "SHORT_DATETIME_FORMAT"),
        str(job.get_state_display()),
        "" if seconds is None else briefly(seconds),
        gettext("this job") if job.pk == this.pk else "",
    ]
    return Life(
        job.state,
        seconds,
        " · ".join(part for part in said if part),
        places.of("jobs_job_change", job.pk),
        job.pk == this.pk,
    )
