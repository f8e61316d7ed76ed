"""What was confirmed is done: to the selected jobs, or to all that match, and is written down."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin import helpers
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db import DatabaseError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from jobs.errors import JobsError
from jobs.models import Job

from ..places import Places
from ..words import whole
from . import background, every
from .listing import JobChangeList
from .verbs import Verb

if TYPE_CHECKING:
    from . import JobAdmin

# So long it takes in one request, in seconds.
_LONGEST = 20.0


def do_these(
    model_admin: JobAdmin,
    request: HttpRequest,
    verb: Verb,
    queryset: QuerySet[Job[Any]],
    said: dict[str, Any],
    seen_at: datetime,
) -> None:
    selected = set(request.POST.getlist(helpers.ACTION_CHECKBOX_NAME))
    rows = queryset.filter(every.as_seen(verb, seen_at), pk__in=selected)
    jobs = {job.pk: job for job in rows.defer("arguments", "result", "metadata")}
    try:
        done = verb.do(list(jobs), request.user.get_username(), said)
    except DatabaseError as error:
        _tell_refusal(model_admin, request, error)
        return
    is_deletion = verb.name == "remove"
    message = [{"changed": {"fields": [f"{verb.name} {every.told(said)}".strip()]}}]
    LogEntry.objects.log_actions(
        _user_id(request),
        [jobs[id_] for id_ in done],
        DELETION if is_deletion else CHANGE,
        "" if is_deletion else message,
    )
    _tell(model_admin, request, verb, said, len(done), max(0, len(selected) - len(done)))


def do_all(
    model_admin: JobAdmin,
    request: HttpRequest,
    listed: JobChangeList,
    verb: Verb,
    said: dict[str, Any],
    seen_at: datetime,
    total: int | None,
) -> None:
    """To what was there when the page was shown: in the background, where it is much."""
    if is_much(total) and background.is_served():
        try:
            job = background.start(listed, request, verb.name, said, seen_at, total)
        except JobsError as error:
            model_admin.message_user(request, str(error), messages.ERROR)
            return
        url = Places(request, model_admin.admin_site.name).of("jobs_job_change", job.pk)
        told = format_html(
            '{} <a href="{}">{}</a>',
            _("A worker does it in the background."), url, _("Watch it, or stop it"),
        )  # fmt: skip
        model_admin.message_user(request, told, messages.SUCCESS)
        return
    _do_all_now(model_admin, request, listed, verb, said, seen_at)


def is_much(total: int | None) -> bool:
    return total is None or total > background.AT_ONCE


def _do_all_now(
    model_admin: JobAdmin,
    request: HttpRequest,
    listed: JobChangeList,
    verb: Verb,
    said: dict[str, Any],
    seen_at: datetime,
) -> None:
    by, count, until = request.user.get_username(), 0, time.monotonic() + _LONGEST
    is_over, is_refused = True, False
    try:
        for part in every.parts(listed, verb, said, seen_at):
            count += every.do(listed, verb, part, by, said)
            if part.is_cut or (part.after and time.monotonic() > until):
                is_over = False
                break
    except DatabaseError as error:
        is_refused = True
        _tell_refusal(model_admin, request, error)
    every.write_down(_user_id(request), listed, verb, said, count)
    if count or not is_refused:
        _tell(model_admin, request, verb, said, count, 0)
    if not is_over:
        told = _("There may be more that match: do it again for the others.")
        model_admin.message_user(request, told, messages.WARNING)


def _tell(
    model_admin: JobAdmin,
    request: HttpRequest,
    verb: Verb,
    said: dict[str, Any],
    count: int,
    left: int,
) -> None:
    if count or not left:
        told = verb.done % (said | {"count": count})
        model_admin.message_user(request, told, messages.SUCCESS)
    if left:
        told = ngettext(
            "%(count)s job was left as it is: its state does not allow it.",
            "%(count)s jobs were left as they are: their states do not allow it.",
            left,
        )
        model_admin.message_user(request, told % {"count": whole(left)}, messages.WARNING)


def _tell_refusal(model_admin: JobAdmin, request: HttpRequest, error: Exception) -> None:
    told = gettext("PostgreSQL has refused it: %(error)s") % {"error": str(error).strip()}
    model_admin.message_user(request, told, messages.ERROR)


def _user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None
    return request.user.pk
