"""What is done to many jobs: the selected ones, or all that match. First a page says what will
happen to how many; then it is done, now or in the background.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.contrib.admin import helpers
from django.db import OperationalError, connections
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from jobs.models import Job, State

from ..payload import may_view_payload
from ..words import whole
from . import background, doing
from .again import AgainForm
from .verbs import VERBS, Verb
from .walk import estimate, patiently

if TYPE_CHECKING:
    from . import JobAdmin

# So many tasks are named, and so many jobs shown as they will be.
_TASKS, _SHOWN = 5, 5


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
    # As Django's own form reads it.
    is_all = request.POST.get("select_across", "") not in ("", "0", "false", "False")
    seen_at = _seen_at(request) if "confirmed" in request.POST else None
    back_url = _back_url(model_admin, request, selected)
    jobs = queryset.order_by()
    listed: Any = model_admin.get_changelist_instance(request) if is_all else None
    counts: Counts | None = None
    some: list[Job[Any]] = []
    if verb.is_again:
        # Its form depends on them.
        rows = listed.result_list if is_all else jobs.filter(state__in=verb.states)
        counts, some = _counts(jobs), [job for job in rows if job.state in verb.states][:_SHOWN]
        # The one by which the form was made stays that, whatever has come meanwhile.
        sample = request.POST.get("sample", "")
        if is_id(sample):
            some = [*model_admin.get_queryset(request).filter(pk=sample), *some]
    tasks = _tasks_of(verb, counts, listed)
    form = _form(request, verb, None if seen_at is None else request.POST, some, tasks)
    if seen_at is not None and form.is_valid() and "preview" not in request.POST:
        said = form.said if isinstance(form, AgainForm) else form.cleaned_data
        if listed is not None:
            total = _done(_counts(jobs), verb)
            doing.do_all(model_admin, request, listed, verb, said, seen_at, total)
        else:
            doing.do_these(model_admin, request, verb, queryset, said, seen_at)
        return HttpResponseRedirect(back_url)
    counts = counts or _counts(jobs)
    done = _done(counts, verb)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": verb.title,
        "opts": model_admin.opts,
        "verb": verb,
        "form": form,
        # Not by the form's own name: an argument may be called so.
        "sample": some[0].pk if some else "",
        "pairs": list(form.pairs()) if isinstance(form, AgainForm) else [],
        "is_all": is_all,
        "chosen": [] if listed is None else listed.chosen,
        "about": "" if counts is not None else whole(estimate(jobs)),
        "done": done,
        "rows": None if counts is None else _rows(counts, verb),
        "tasks": [] if counts is None else _tasks(counts, verb),
        "in_background": is_all and doing.is_much(done) and background.is_served(),
        "previews": form.previews(some) if _is_to_be_shown(request, form) else [],
        "selected": selected[:1] if is_all else selected,
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "seen_at": (seen_at or _now(jobs.db)).isoformat(),
        "of_one": "of_one" in request.POST,
        "back_url": back_url,
        "media": model_admin.media,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/jobs/job/bulk.html", context)


def _tasks_of(verb: Verb, counts: Counts | None, listed: Any) -> set[str]:
    """Those of the jobs to which it will be done, as far as anybody knows."""
    if counts is not None:
        return {task for state, task in counts.by_both if state in verb.states}
    return set() if listed is None else set(listed.asked.tasks)


def _form(
    request: HttpRequest, verb: Verb, data: Any, some: list[Job[Any]], tasks: set[str]
) -> Any:
    """What is to be said beside the verb; of some of the jobs a form of arguments is made."""
    if not verb.is_again:
        return verb.form(data)
    if not (some and {some[0].task} == tasks and may_view_payload(request)):
        return verb.form(data)
    return AgainForm.of(some[0], data) or verb.form(data)


def _is_to_be_shown(request: HttpRequest, form: Any) -> bool:
    return isinstance(form, AgainForm) and "preview" in request.POST and form.is_valid()


class Counts(NamedTuple):
    """How many jobs, by state and task."""

    by_both: Counter[tuple[str, str]]

    def done(self, verb: Verb) -> int:
        return sum(count for (state, _), count in self.by_both.items() if state in verb.states)

    def of_state(self, state: str) -> int:
        return sum(count for (one, _), count in self.by_both.items() if one == state)


def _counts(jobs: QuerySet[Job[Any]]) -> Counts | None:
    """None: it would take too long."""
    try:
        with patiently(jobs.db, scans=True):
            found = jobs.values_list("state", "task").annotate(count=Count("pk"))
            return Counts(Counter({(state, task): count for state, task, count in found}))
    except OperationalError:
        return None


def _done(counts: Counts | None, verb: Verb) -> int | None:
    """To how many it will be done; None: nobody knows."""
    return None if counts is None else counts.done(verb)


def _rows(counts: Counts, verb: Verb) -> list[dict[str, Any]]:
    return [
        {
            "state": state,
            "label": state.label,
            "count": whole(count),
            "told": verb.told if state in verb.states else _("will be left as they are"),
            "is_done": state in verb.states,
        }
        for state in State
        if (count := counts.of_state(state))
    ]


def _tasks(counts: Counts, verb: Verb) -> list[tuple[str, str]]:
    """Which tasks' jobs they are, of those to which it will be done: (name, how many)."""
    by_task: Counter[str] = Counter()
    for (state, task), count in counts.by_both.items():
        if state in verb.states:
            by_task[task] += count
    most = [(task, whole(count)) for task, count in by_task.most_common(_TASKS)]
    rest = len(by_task) - _TASKS
    if rest > 0:
        told = ngettext("%(count)d other task", "%(count)d other tasks", rest)
        most.append((told % {"count": rest}, ""))
    return most


def _seen_at(request: HttpRequest) -> datetime | None:
    """When the page was shown, on the database's clock; None: it was not."""
    try:
        seen_at = datetime.fromisoformat(request.POST.get("seen_at", ""))
        return seen_at.astimezone(UTC) if seen_at.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _now(alias: str) -> datetime:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _back_url(model_admin: JobAdmin, request: HttpRequest, selected: list[str]) -> str:
    """To the page of one job, where it was asked for there."""
    if "of_one" in request.POST and len(selected) == 1 and is_id(selected[0]):
        site = model_admin.admin_site.name
        return reverse("admin:jobs_job_change", args=selected, current_app=site)
    return request.get_full_path()
