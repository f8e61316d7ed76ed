"""What is done to many jobs: the selected ones, or all that match. First a page says what will
happen to how many; then it is done, a thousand at a time, each in a transaction of its own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin import helpers
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, OperationalError
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from jobs import conf, lifecycle
from jobs.models import FINAL, Attempt, Job, State

from ..words import whole
from .filters import queue_names
from .listing import JobChangeList
from .walk import estimate, patiently, walk

if TYPE_CHECKING:
    from . import JobAdmin

# So many in one transaction, and so long in one request, in seconds.
_PART, _LONGEST = 1_000, 20.0
# Of all that match, so many rows are looked at by one statement.
_STEPS = (20_000,)


class RetryForm(forms.Form):
    delay = forms.IntegerField(
        label=_("In how many minutes"), min_value=0, max_value=525_600, initial=0, required=False
    )


class CancelForm(forms.Form):
    because = forms.CharField(label=_("Reason"), max_length=1_000, required=False)


class MoveForm(forms.Form):
    queue_name = forms.CharField(label=_("Queue"), max_length=128)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._listed = conf.settings().queues
        self.fields["queue_name"].help_text = ", ".join(self._listed or queue_names())

    def clean_queue_name(self) -> str:
        name = str(self.cleaned_data["queue_name"])
        if self._listed and name not in self._listed:
            raise forms.ValidationError(_("There is no such queue: JOBS['QUEUES'] lists them."))
        return name


class PriorityForm(forms.Form):
    priority = forms.IntegerField(
        label=_("Priority"), min_value=-100, max_value=100, help_text=_("Higher comes first.")
    )


@dataclass(frozen=True, slots=True)
class Verb:
    name: str
    title: Any
    # What a page says of those to which it is done.
    told: Any
    button: Any
    # Of the admin's class: has_…_permission.
    permission: str
    states: tuple[State, ...]
    do: Callable[[list[UUID], str, dict[str, Any]], list[UUID]]
    form: type[forms.Form] = forms.Form
    is_destructive: bool = False


def _retry(ids: list[UUID], by: str, said: dict[str, Any]) -> list[UUID]:
    delay = timedelta(minutes=said.get("delay") or 0)
    return lifecycle.retry_these(ids, delay=delay, using=_alias())


def _cancel(ids: list[UUID], by: str, said: dict[str, Any]) -> list[UUID]:
    return lifecycle.cancel_these(ids, by=by, because=said["because"], using=_alias())


def _move(ids: list[UUID], by: str, said: dict[str, Any]) -> list[UUID]:
    return lifecycle.move(ids, queue_name=said["queue_name"], using=_alias())


def _prioritise(ids: list[UUID], by: str, said: dict[str, Any]) -> list[UUID]:
    return lifecycle.move(ids, priority=said["priority"], using=_alias())


def _delete(ids: list[UUID], by: str, said: dict[str, Any]) -> list[UUID]:
    """A site's foreign key to one of them refuses the whole part."""
    return lifecycle.delete(ids, using=_alias())


VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "retry", _("Retry jobs"), _("will be queued again"), _("Retry"), "retry",
            (State.FAILED, State.CANCELLED), _retry, RetryForm,
        ),
        Verb(
            "cancel", _("Cancel jobs"), _("will be cancelled; those that run are told to stop"),
            _("Cancel them"), "cancel", (State.WAITING, State.QUEUED, State.RUNNING), _cancel,
            CancelForm, is_destructive=True,
        ),
        Verb(
            "move", _("Move jobs to another queue"), _("will be moved"), _("Move"), "move",
            (State.WAITING, State.QUEUED), _move, MoveForm,
        ),
        Verb(
            "prioritise", _("Change the priority of jobs"), _("will have that priority"),
            _("Change"), "move", (State.WAITING, State.QUEUED), _prioritise, PriorityForm,
        ),
        Verb(
            "remove", _("Delete jobs"), _("will be deleted, with their attempts and results"),
            _("Delete them"), "remove", tuple(FINAL), _delete, is_destructive=True,
        ),
    )
}  # fmt: skip


def action(name: str) -> Callable[..., HttpResponse | None]:
    """As Django's admin wants its actions."""
    verb = VERBS[name]

    def act(
        model_admin: JobAdmin, request: HttpRequest, queryset: QuerySet[Job[Any]]
    ) -> HttpResponse | None:
        return _page(model_admin, request, queryset, verb)

    act.__name__ = name
    act.short_description = verb.title  # type: ignore[attr-defined]
    act.allowed_permissions = (verb.permission,)  # type: ignore[attr-defined]
    return act


def _page(
    model_admin: JobAdmin, request: HttpRequest, queryset: QuerySet[Job[Any]], verb: Verb
) -> HttpResponse | None:
    """What will happen to how many; and once that is confirmed, it happens."""
    selected = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
    is_all = request.POST.get("select_across") == "1"
    is_confirmed = "confirmed" in request.POST
    form = verb.form(request.POST if is_confirmed else None)
    if is_confirmed and form.is_valid():
        seen_at = _seen_at(request)
        if is_all:
            _do_all(model_admin, request, verb, form.cleaned_data, seen_at)
        else:
            _do_these(model_admin, request, verb, queryset, form.cleaned_data)
        return _back(model_admin, request, selected)
    jobs = queryset.order_by()
    counts = _counts(jobs)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": verb.title,
        "opts": model_admin.opts,
        "verb": verb,
        "form": form,
        "is_all": is_all,
        "filters": _told_filters(request) if is_all else "",
        "about": None if counts is not None else whole(estimate(jobs)),
        "done": sum(counts[state] for state in verb.states) if counts is not None else None,
        "rows": None if counts is None else _rows(counts, verb),
        "selected": selected if not is_all else selected[:1],
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "seen_at": datetime.now(UTC).isoformat(),
        "is_one": _is_one(request),
        "back_url": _back_url(model_admin, request, selected),
        "media": model_admin.media,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/jobs/job/bulk.html", context)


def _counts(jobs: QuerySet[Job[Any]]) -> Counter[str] | None:
    """By state; None: it would take too long."""
    try:
        with patiently(jobs.db):
            found = jobs.values_list("state").annotate(count=Count("pk"))
            return Counter(dict(found))
    except OperationalError:
        return None


def _rows(counts: Counter[str], verb: Verb) -> list[dict[str, Any]]:
    return [
        {
            "state": state,
            "label": state.label,
            "count": whole(counts[state]),
            "told": verb.told if state in verb.states else _("will be left as they are"),
            "is_done": state in verb.states,
        }
        for state in State
        if counts[state]
    ]


def _do_these(
    model_admin: JobAdmin,
    request: HttpRequest,
    verb: Verb,
    queryset: QuerySet[Job[Any]],
    said: dict[str, Any],
) -> None:
    jobs = {job.pk: job for job in queryset.defer("arguments", "result", "metadata")}
    by = request.user.get_username()
    try:
        done = verb.do(list(jobs), by, said)
    except IntegrityError as error:
        _tell_refusal(model_admin, request, error)
        return
    flag = DELETION if verb.name == "remove" else CHANGE
    message = [{"changed": {"name": verb.name, "object": _told_said(said)}}]
    LogEntry.objects.log_actions(
        _user_id(request),
        [jobs[id_] for id_ in done],
        flag,
        message if flag == CHANGE else "",
    )
    _tell(model_admin, request, verb, len(done), len(jobs) - len(done))


def _do_all(
    model_admin: JobAdmin,
    request: HttpRequest,
    verb: Verb,
    said: dict[str, Any],
    seen_at: datetime,
) -> None:
    listed = model_admin.get_changelist_instance(request)
    assert isinstance(listed, JobChangeList)
    by, count, until = request.user.get_username(), 0, time.monotonic() + _LONGEST
    is_over = True
    try:
        for part in _parts(listed, verb, seen_at):
            count += len(verb.do(part, by, said))
            if time.monotonic() > until:
                is_over = False
                break
    except IntegrityError as error:
        _tell_refusal(model_admin, request, error)
    LogEntry.objects.create(
        user_id=_user_id(request),
        content_type=ContentType.objects.get_for_model(Job),
        object_repr=_told_filters(request)[:200],
        action_flag=DELETION if verb.name == "remove" else CHANGE,
        change_message=f"{verb.name}: {count:,} jobs that matched. {_told_said(said)}".strip(),
    )
    _tell(model_admin, request, verb, count, 0)
    if not is_over:
        told = _("There are more that match: do it again for the others.")
        model_admin.message_user(request, told, messages.WARNING)


def _parts(listed: JobChangeList, verb: Verb, seen_at: datetime) -> Iterator[list[UUID]]:
    """The ids of what matches, and was there when the page was shown."""
    source = listed.source
    seen = Q(
        **{
            f"{source.prefix}state__in": verb.states,
            f"{source.prefix}enqueued_at__lte": seen_at,
        }
    )
    source = source._replace(matching=seen if source.matching is None else source.matching & seen)
    after = ""
    while True:
        found = walk(source, after=after, wanted=_PART, steps=_STEPS)
        if found.rows:
            yield [row.job_id if isinstance(row, Attempt) else row.pk for row in found.rows]
        if not found.after or found.is_cut:
            return
        after = found.after


def _tell(model_admin: JobAdmin, request: HttpRequest, verb: Verb, count: int, left: int) -> None:
    told = ngettext("%(count)s job: %(done)s.", "%(count)s jobs: %(done)s.", count)
    if count or not left:
        words = {"count": whole(count), "done": _DONE[verb.name]}
        model_admin.message_user(request, told % words, messages.SUCCESS)
    if left:
        told = ngettext(
            "%(count)s job was left as it is: its state does not allow it.",
            "%(count)s jobs were left as they are: their states do not allow it.",
            left,
        )
        model_admin.message_user(request, told % {"count": whole(left)}, messages.WARNING)


_DONE = {
    "retry": _("queued again"),
    "cancel": _("cancelled, or told to stop"),
    "move": _("moved"),
    "prioritise": _("given that priority"),
    "remove": _("deleted"),
}


def _tell_refusal(model_admin: JobAdmin, request: HttpRequest, error: Exception) -> None:
    told = gettext("PostgreSQL has refused it: %(error)s") % {"error": str(error).strip()}
    model_admin.message_user(request, told, messages.ERROR)


def _told_filters(request: HttpRequest) -> str:
    """What was chosen, as the address says it."""
    said = ", ".join(f"{name}={value}" for name, value in request.GET.items() if name != "after")
    return said or gettext("all jobs")


def _told_said(said: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in said.items() if value)


def _seen_at(request: HttpRequest) -> datetime:
    try:
        return datetime.fromisoformat(request.POST.get("seen_at", ""))
    except ValueError:
        return datetime.now(UTC)


def _user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None
    return request.user.pk


def _is_one(request: HttpRequest) -> bool:
    """Asked for on the page of one job."""
    return "of_one" in request.POST


def _back_url(model_admin: JobAdmin, request: HttpRequest, selected: list[str]) -> str:
    if _is_one(request) and len(selected) == 1:
        site = model_admin.admin_site.name
        return reverse("admin:jobs_job_change", args=selected, current_app=site)
    return request.get_full_path()


def _back(model_admin: JobAdmin, request: HttpRequest, selected: list[str]) -> HttpResponseRedirect:
    return HttpResponseRedirect(_back_url(model_admin, request, selected))


def _alias() -> str:
    return conf.settings().database
