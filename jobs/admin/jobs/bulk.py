"""What is done to many jobs: the selected ones, or all that match. First a page says what will
happen to how many; then it is done, a thousand at a time, each in a transaction of its own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import helpers
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, OperationalError, connections
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from jobs.models import FINAL, Attempt, Job, State

from ..words import whole
from .listing import JobChangeList
from .verbs import VERBS, Verb
from .walk import estimate, patiently, walk

if TYPE_CHECKING:
    from . import JobAdmin

# So many in one transaction, and so long in one request, in seconds.
_PART, _LONGEST = 1_000, 20.0
# Of all that match, so many rows are looked at by one statement.
_STEPS = (20_000,)
# So many tasks are named.
_TASKS = 5


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
    form = verb.form(None if seen_at is None else request.POST)
    back_url = _back_url(model_admin, request, selected)
    if seen_at is not None and form.is_valid():
        if is_all:
            _do_all(model_admin, request, verb, form.cleaned_data, seen_at)
        else:
            _do_these(model_admin, request, verb, queryset, form.cleaned_data, seen_at)
        return HttpResponseRedirect(back_url)
    jobs = queryset.order_by()
    counts = _counts(jobs)
    chosen = _listed(model_admin, request).chosen if is_all else []
    context = {
        **model_admin.admin_site.each_context(request),
        "title": verb.title,
        "opts": model_admin.opts,
        "verb": verb,
        "form": form,
        "is_all": is_all,
        "chosen": chosen,
        "about": "" if counts is not None else whole(estimate(jobs)),
        "done": None if counts is None else counts.done(verb),
        "rows": None if counts is None else _rows(counts, verb),
        "tasks": [] if counts is None else _tasks(counts, verb),
        "selected": selected[:1] if is_all else selected,
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "seen_at": (seen_at or _now(jobs.db)).isoformat(),
        "of_one": "of_one" in request.POST,
        "back_url": back_url,
        "media": model_admin.media,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/jobs/job/bulk.html", context)


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


def _do_these(
    model_admin: JobAdmin,
    request: HttpRequest,
    verb: Verb,
    queryset: QuerySet[Job[Any]],
    said: dict[str, Any],
    seen_at: datetime,
) -> None:
    selected = set(request.POST.getlist(helpers.ACTION_CHECKBOX_NAME))
    rows = queryset.filter(_as_seen(verb, seen_at), pk__in=selected)
    jobs = {job.pk: job for job in rows.defer("arguments", "result", "metadata")}
    try:
        done = verb.do(list(jobs), request.user.get_username(), said)
    except DatabaseError as error:
        _tell_refusal(model_admin, request, error)
        return
    is_deletion = verb.name == "remove"
    message = [{"changed": {"fields": [f"{verb.name} {_told_said(said)}".strip()]}}]
    LogEntry.objects.log_actions(
        _user_id(request),
        [jobs[id_] for id_ in done],
        DELETION if is_deletion else CHANGE,
        "" if is_deletion else message,
    )
    _tell(model_admin, request, verb, said, len(done), max(0, len(selected) - len(done)))


def _do_all(
    model_admin: JobAdmin,
    request: HttpRequest,
    verb: Verb,
    said: dict[str, Any],
    seen_at: datetime,
) -> None:
    """To what was there when the page was shown; one entry of the log says all of it."""
    listed = _listed(model_admin, request)
    by, count, until = request.user.get_username(), 0, time.monotonic() + _LONGEST
    is_over, is_refused = True, False
    try:
        for part in _parts(listed, verb, said, seen_at):
            if part is None:
                is_over = False
                break
            # What the page has counted, and nothing else.
            counted = listed.queryset.order_by().filter(pk__in=part).values_list("pk", flat=True)
            count += len(verb.do(list(counted), by, said))
            if time.monotonic() > until:
                is_over = False
                break
    except DatabaseError as error:
        is_refused = True
        _tell_refusal(model_admin, request, error)
    chosen = ", ".join(f"{what}: {which}" for what, which in listed.chosen)
    LogEntry.objects.create(
        user_id=_user_id(request),
        content_type=ContentType.objects.get_for_model(Job),
        object_repr=(chosen or gettext("all jobs"))[:200],
        action_flag=DELETION if verb.name == "remove" else CHANGE,
        change_message=f"{verb.name}: {count:,} jobs that matched. {_told_said(said)}".strip(),
    )
    if count or not is_refused:
        _tell(model_admin, request, verb, said, count, 0)
    if not is_over:
        told = _("There may be more that match: do it again for the others.")
        model_admin.message_user(request, told, messages.WARNING)


def _parts(
    listed: JobChangeList, verb: Verb, said: dict[str, Any], seen_at: datetime
) -> Iterator[list[UUID] | None]:
    """The ids of what matches, and was there when the page was shown. None: it took too long."""
    source = listed.source
    wanted = _as_seen(verb, seen_at, source.prefix)
    if verb.sets:
        # What is done already may come again, further down in the order.
        wanted &= ~Q(**{f"{source.prefix}{name}": said[name] for name in verb.sets})
    if source.matching is not None:
        wanted &= source.matching
    source, after = source._replace(matching=wanted), ""
    while True:
        found = walk(source, after=after, wanted=_PART, steps=_STEPS)
        if found.rows:
            yield [row.job_id if isinstance(row, Attempt) else row.pk for row in found.rows]
        if found.is_cut:
            yield None
        if not found.after:
            return
        after = found.after


def _as_seen(verb: Verb, seen_at: datetime, prefix: str = "") -> Q:
    """Those that were there when the page was shown, and whose state allows it now; what has ended
    must have ended by then."""
    wanted = {"state__in": verb.states, "enqueued_at__lte": seen_at}
    if set(verb.states) <= set(FINAL):
        wanted["finished_at__lte"] = seen_at
    return Q(**{f"{prefix}{name}": value for name, value in wanted.items()})


def _listed(model_admin: JobAdmin, request: HttpRequest) -> JobChangeList:
    listed = model_admin.get_changelist_instance(request)
    assert isinstance(listed, JobChangeList)
    return listed


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


def _told_said(said: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in said.items() if value not in (None, ""))


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


def _user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None
    return request.user.pk


def _back_url(model_admin: JobAdmin, request: HttpRequest, selected: list[str]) -> str:
    """To the page of one job, where it was asked for there."""
    if "of_one" in request.POST and len(selected) == 1 and is_id(selected[0]):
        site = model_admin.admin_site.name
        return reverse("admin:jobs_job_change", args=selected, current_app=site)
    return request.get_full_path()
