"""The page of one kind of failures: what they say, where they go, what may be done about them."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib import messages
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jobs import conf, frames
from jobs.models import Attempt, Silence
from jobs.models.attempt import FAILURES

from .. import pausing
from ..payload import may_view_payload
from ..places import Places, asked
from ..words import whole
from . import kinds, tracebacks
from .walk import patiently

if TYPE_CHECKING:
    from . import JobAdmin

# So many of the newest are compared, so many differences shown, and so many jobs named.
_COMPARED, _SHOWN, _NAMED = 100, 6, 10


class Way(NamedTuple):
    """One way through the code: how many of those that were compared took it."""

    of: int
    # The newest way as a traceback, the others as what differs from it.
    told: SafeString


def context(model_admin: JobAdmin, request: HttpRequest, fingerprint: str) -> dict[str, Any]:
    """What the page shows, for `?task=`."""
    task, places = asked(request, "task"), Places(request)
    attempts, first_at = _found(fingerprint, task)
    kind = _counted(fingerprint, attempts[0])
    silence = kinds.silences_now().filter(task=kind.task, fingerprint=fingerprint).first()
    may_see = may_view_payload(request)
    address = {"task": kind.task}
    return {
        **model_admin.admin_site.each_context(request),
        "title": _("Failures of one kind"),
        "opts": model_admin.opts,
        "one": kinds.shown(kind, places, attempts[0] if may_see else None, silence),
        "is_partial": kind.count >= kinds.MOST,
        "first_at": first_at,
        "compared": whole(len(attempts)),
        "says": _said(attempts) if may_see else [],
        "ways": _ways(attempts) if may_see else [],
        "newest": [
            (attempt, places.of("jobs_job_change", attempt.job_id))
            for attempt in _by_job(attempts)[:_NAMED]
        ],
        "kinds_url": places.of("jobs_job_kinds", task=kind.task),
        "silence_url": places.of("jobs_job_silence", fingerprint, **address),
        "hear_url": places.of("jobs_job_hear", fingerprint, **address),
        "may_retry": model_admin.has_retry_permission(request),
        "may_cancel": model_admin.has_cancel_permission(request),
        "may_silence": model_admin.has_silence_permission(request),
        "media": model_admin.media,
    }


def silence(model_admin: JobAdmin, request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Asks why and for how long; then no alarm tells of these failures."""
    task = asked(request, "task")
    form = pausing.PauseForm(request.POST if request.method == "POST" else None)
    newest, _ignored = _found(fingerprint, task, most=1)
    if not form.is_valid():
        asked_for = {
            **model_admin.admin_site.each_context(request),
            "title": _("Silence"),
            "opts": model_admin.opts,
            "form": form,
            "task": newest[0].job.task,
            "back_url": _back_url(request, fingerprint, newest[0].job.task),
            "media": model_admin.media,
        }
        return render(request, "admin/jobs/job/silence.html", asked_for)
    Silence.objects.using(conf.settings().database).update_or_create(
        task=newest[0].job.task,
        fingerprint=fingerprint,
        defaults={"by": request.user.get_username(), **form.said},
    )
    changed = [{"changed": {"fields": [f"silenced failures of the kind {fingerprint}"]}}]
    model_admin.log_change(request, newest[0].job, changed)
    told = _("Silenced: within seconds no alarm tells of these failures any more.")
    model_admin.message_user(request, told, messages.SUCCESS)
    return HttpResponseRedirect(_back_url(request, fingerprint, newest[0].job.task))


def hear(model_admin: JobAdmin, request: HttpRequest, fingerprint: str) -> HttpResponse:
    """End the silence."""
    task = asked(request, "task")
    found, _ignored = _found(fingerprint, task, most=1)
    silences = Silence.objects.using(conf.settings().database)
    silences.filter(task=task, fingerprint=fingerprint).delete()
    for attempt in found:
        changed = [{"changed": {"fields": [f"hears of failures of the kind {fingerprint}"]}}]
        model_admin.log_change(request, attempt.job, changed)
    told = _("Alarms tell of these failures again.")
    model_admin.message_user(request, told, messages.SUCCESS)
    return HttpResponseRedirect(_back_url(request, fingerprint, task))


def _back_url(request: HttpRequest, fingerprint: str, task: str) -> str:
    return Places(request).of("jobs_job_kind", fingerprint, task=task)


def _of(fingerprint: str, task: str) -> Any:
    attempts = Attempt.objects.using(conf.settings().database)
    return attempts.filter(fingerprint=fingerprint, outcome__in=FAILURES, job__task=task)


def _found(fingerprint: str, task: str, most: int = _COMPARED) -> tuple[list[Attempt], Any]:
    """The newest, and when the first was that is still kept; 404 where there are none, or it is not
    said of which task."""
    found: list[Attempt] = []
    first_at = None
    if task and "\0" not in fingerprint:
        with suppress(OperationalError), patiently(conf.settings().database, scans=True):
            found = _newest(fingerprint, task, most)
            first_at = _oldest(fingerprint, task)
    if not found:
        raise Http404(gettext("There are no failures of this kind."))
    return found, first_at


def _newest(fingerprint: str, task: str, most: int) -> list[Attempt]:
    named = ("job__task", "job__state")
    rows = _of(fingerprint, task).select_related("job").order_by("-id")
    fields = [field.name for field in Attempt._meta.concrete_fields]
    return list(rows.only(*fields, *named)[:most])


def _by_job(attempts: list[Attempt]) -> list[Attempt]:
    """Of each job the newest."""
    found: dict[Any, Attempt] = {}
    for attempt in attempts:
        found.setdefault(attempt.job_id, attempt)
    return list(found.values())


def _oldest(fingerprint: str, task: str) -> Any:
    return _of(fingerprint, task).order_by("id").values_list("finished_at", flat=True).first()


def _counted(fingerprint: str, last: Attempt) -> kinds.Kind:
    """Its counts; where that took too long, without."""
    task = last.job.task
    try:
        found = kinds.read(task=task, kind=fingerprint)
    except OperationalError:
        found = []
    if found:
        return found[0]
    return kinds.Kind(task, fingerprint, last.exception_class_path, job_id=last.job_id)


def _said(attempts: list[Attempt]) -> list[tuple[str, int]]:
    """Their messages, the most frequent first."""
    counted = Counter(attempt.message.strip() for attempt in attempts)
    return [(message or "–", count) for message, count in counted.most_common(_SHOWN)]


def _ways(attempts: list[Attempt]) -> list[Way]:
    """The ways through the code, the newest first."""
    found: dict[tuple[str, ...], list[Attempt]] = {}
    for attempt in attempts:
        found.setdefault(tuple(_steps(attempt.traceback)), []).append(attempt)
    ways: list[Way] = []
    first: tuple[str, ...] = ()
    for steps, those in list(found.items())[:_SHOWN]:
        if not ways:
            first = steps
            told = tracebacks.shown(those[0].traceback)
        else:
            told = _difference(first, steps)
        ways.append(Way(len(those), told))
    return ways


def _steps(traceback: str) -> Iterator[str]:
    """Frames and their lines, without what the exceptions say."""
    for line in traceback.splitlines():
        if frame := frames.read(line):
            yield str(frame)
        elif line.startswith("    "):
            yield line


def _difference(before: tuple[str, ...], after: tuple[str, ...]) -> SafeString:
    names = {"+": "jobs-added", "-": "jobs-removed"}
    lines = list(difflib.unified_diff(before, after, n=2, lineterm=""))[2:]
    rows = ((names.get(line[:1], "jobs-foreign"), line) for line in lines)
    return format_html_join("", '<span class="{}">{}\n</span>', rows)
