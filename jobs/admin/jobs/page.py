"""One job's page: its life on top, then what it was given and gave, its counts, its like."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, JsonResponse
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jobs.models import FINAL, Job, JobQuerySet, State

from ..base import to_the_second
from ..payload import folded, may_view_payload, pretty, without_sensitive
from ..pictures import Life, lives
from ..places import Places
from ..words import briefly
from . import life, logs
from .arguments import ArgumentsForm, task_of
from .asked import Asked
from .columns import is_put_off, shown_progress
from .python import as_python, call
from .walk import walk

if TYPE_CHECKING:
    from . import JobAdmin

# With more events than this, what went wrong is said on top.
_FEW = 4
# So many jobs of the same task are drawn, of so many that are looked at.
_LIKE, _STEPS = 40, (4_000,)


def living(model_admin: JobAdmin, request: HttpRequest, job: Job[Any]) -> dict[str, Any]:
    """What changes while it lives: its state, its life, and what may be done."""
    places = Places(request)
    progress = shown_progress(job, with_message=may_view_payload(request))
    percent = None if progress is None else progress.percent
    told = life.of(job, places, with_payload=may_view_payload(request))
    return {
        "job": job,
        "progress": progress,
        "percent": None if percent is None else round(percent),
        "early": told.early,
        "early_count": told.early_count,
        "life": told.late,
        # Where it does not stand just below.
        "last_error": told.last_error if told.early or len(told.late) > _FEW else "",
        "may_retry": model_admin.has_retry_permission(request)
        and job.state in (State.FAILED, State.CANCELLED),
        "may_cancel": model_admin.has_cancel_permission(request)
        and job.state not in FINAL
        and job.cancel_requested_at is None,
        "may_run": model_admin.has_run_permission(request) and job.state in FINAL,
        "retry_url": places.of("jobs_job_retry", job.pk),
        "again_url": places.of("jobs_job_again", job.pk),
        # One job, by the way of many: it says first what will happen.
        "bulk_url": places.of("jobs_job_changelist"),
        "history_url": places.of("jobs_job_history", job.pk),
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
    context["facts"] = _facts(job)
    jobs = model_admin.get_queryset(request)
    assert isinstance(jobs, JobQuerySet)
    return context | _like(job, jobs, Places(request))


def form_again(request: HttpRequest, job: Job[Any]) -> ArgumentsForm | None:
    """Its arguments, to be changed, for who may see them. None also where nobody knows what the
    task takes: then it is run again just as it was."""
    task = task_of(job.task) if may_view_payload(request) else None
    if task is None:
        return None
    try:
        data = request.POST if request.method == "POST" else None
        return ArgumentsForm(task, job.arguments, data)
    except Exception:
        # SQL may have put anything there.
        return None


def asked_again(
    model_admin: JobAdmin, request: HttpRequest, job: Job[Any], form: ArgumentsForm | None
) -> dict[str, Any]:
    """What is asked before a job is run again."""
    return {
        **model_admin.admin_site.each_context(request),
        "title": _("Run again"),
        "opts": model_admin.opts,
        "job": job,
        "form": form,
        "call": folded(call(job)) if may_view_payload(request) and form is None else "",
        "back_url": Places(request).of("jobs_job_change", job.pk),
        "media": model_admin.media,
    }


def download(request: HttpRequest, job: Job[Any]) -> JsonResponse:
    """The row, its attempts and their logs, as a file. What is sensitive, or payload to who may
    not see that, is not in it."""
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
    if may_view_payload(request):
        row["logs"] = [
            {"attempt": log.attempt, "lines": log.lines, "text": log.text}
            for log in logs.of(job).values()
        ]
    answer = JsonResponse(row, json_dumps_params={"indent": 2, "ensure_ascii": False})
    answer["Content-Disposition"] = f'attachment; filename="job-{job.pk}.json"'
    return answer


def _facts(job: Job[Any]) -> list[tuple[Any, Any]]:
    """What its life does not tell, and is not as with most jobs."""
    found: list[tuple[Any, Any]] = [
        (_("id"), job.pk),
        (_("task"), job.task),
        (_("queue"), job.queue_name),
        (_("priority"), job.priority or None),
        (_("worker"), job.worker),
        (_("due"), None if is_put_off(job) else to_the_second(job.run_at)),
        (_("to be started by"), job.expires_at and to_the_second(job.expires_at)),
        (_("time limit"), job.timeout),
        (_("tick"), job.tick and to_the_second(job.tick)),
        (_("failures"), _of(job.failures, job.max_attempts)),
        (_("lost processes"), _of(job.losses, job.max_losses)),
        (_("limit key"), job.limit_key),
        (_("fairness key"), job.fair_key),
        (_("workflow"), job.workflow_id),
    ]
    return [(name, value) for name, value in found if value]


def _of(count: int, most: int | None) -> str:
    """Empty: none so far."""
    if not count:
        return ""
    if most is None:
        return str(count)
    return gettext("%(count)d, at most %(most)d") % {"count": count, "most": most}


def _like(job: Job[Any], jobs: JobQuerySet, places: Places) -> dict[str, Any]:
    """The newest jobs of the same task, as far as they are found in a moment."""
    source = Asked(tasks=(job.task,)).source(jobs)
    found = walk(source, after="", wanted=_LIKE, steps=_STEPS, milliseconds=500).rows
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
    if job.last_attempted_at is not None and (job.finished_at or job.state == State.RUNNING):
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
