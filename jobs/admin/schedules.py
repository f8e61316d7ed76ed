"""The schedules' pages: when each runs, what came of it, and what is wrong with any; a form with
the next runs; enable, disable, run now.

Whoever may change a schedule decides what code runs, and when: a permission of its own.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.db.models import Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from jobs import beat, conf, cron, ids
from jobs.errors import InvalidSchedule, JobsError
from jobs.lifecycle.statements import read_all
from jobs.models import Job, Schedule, State
from jobs.models.schedule import LATE

from .base import ShowingAdmin, moment
from .jobs import may_view_payload, pretty
from .payload import without_sensitive
from .pictures import Column, bars
from .schedule_form import ScheduleForm, SwitchForm, now, preview

_STATEMENTS = read_all(Path(__file__).parent)
_HOURS = 24
# So many jobs of each schedule are counted for a day's picture.
_COUNTED = 2000


class HealthFilter(admin.SimpleListFilter):
    title = _("health")
    parameter_name = "health"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Any:
        return [("bad", _("something is wrong")), ("retired", _("retired"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        if self.value() == "bad":
            late = Now() - LATE
            is_late = Q(next_run_at__lt=late) | Q(stale_since__lt=late)
            return queryset.filter(~Q(problem="") | Q(last_state=State.FAILED) | is_late)
        if self.value() == "retired":
            return queryset.filter(retired_at__isnull=False)
        return None


class ScheduleList(ChangeList):
    """With each row's last day: one query for the page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        days = last_days([row.pk for row in self.result_list])
        moment = now()
        for row in self.result_list:
            row.last_day, row.seen_at = days[row.pk], moment


@admin.register(Schedule)
class ScheduleAdmin(ShowingAdmin):
    list_display = (
        "shown_name",
        "shown_enabled",
        "shown_rule",
        "shown_next_run",
        "shown_last_run",
        "shown_last_day",
    )
    list_display_links = None
    list_filter = ("enabled", HealthFilter, "source", "kind")
    search_fields = ("name", "task", "description")
    actions = ("enable", "disable", "run_now")
    change_form_template = "admin/jobs/schedule/change_form.html"

    shown_last_tick = moment("last_tick", _("last tick"))
    shown_created_at = moment("created_at", _("created at"))
    shown_retired_at = moment("retired_at", _("retired at"))
    shown_skipped_tick = moment("skipped_tick", _("last skipped tick"))

    # Who may do what.

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return admin.ModelAdmin.has_view_permission(self, request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # What is declared would come back with the next start.
        if obj is not None and obj.source != Schedule.Source.HAND and not obj.retired_at:
            return False
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    def has_run_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.run_schedule")

    # The list.

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        last = Job.objects.using(rows.db).filter(pk=OuterRef("last_job_id"))
        made: QuerySet[Any] = rows.annotate(
            last_state=Subquery(last.values("state")[:1]),
            last_at=Subquery(last.values("enqueued_at")[:1]),
        )
        return made

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ScheduleList

    @admin.display(description=_("name"), ordering="name")
    def shown_name(self, schedule: Schedule) -> SafeString:
        """With what it calls, and what is to be said of it."""
        url = reverse("admin:jobs_schedule_change", args=[schedule.pk])
        notice = self.shown_notice(schedule)
        return format_html(
            '<strong><a href="{}">{}</a></strong><br><span class="jobs-small">{}{}{}</span>',
            url,
            schedule.name,
            schedule.task,
            mark_safe("<br>") if notice else "",
            notice,
        )

    @admin.display(description=_("when"))
    def shown_rule(self, schedule: Schedule) -> SafeString | str:
        try:
            words = cron.in_words(schedule.rule)
        except InvalidSchedule as error:
            return str(error)
        raw = schedule.line if schedule.kind == Schedule.Kind.CRON else ""
        return format_html('<span title="{}">{}</span>', raw or words, words)

    @admin.display(description=_("next run"), ordering="next_run_at")
    def shown_next_run(self, schedule: Any) -> SafeString | str:
        late = schedule.late_by(schedule.seen_at)
        shown = _time(schedule.next_run_at) if schedule.next_run_at else ""
        if late is not None:
            told = gettext("late: no beat has served it for %(time)s") % {"time": ago(late)}
            return format_html('{} <span class="jobs-wrong">{}</span>', shown, told)
        if schedule.stale_since is not None:
            return gettext("as soon as a beat has planned it")
        if not schedule.enabled:
            return gettext("disabled")
        return gettext("ended") if schedule.has_ended else shown or "–"

    @admin.display(description=_("last run"), ordering="last_at")
    def shown_last_run(self, schedule: Any) -> SafeString | str:
        if schedule.last_state is None:
            # Never, or its job has been deleted since.
            return _time(schedule.last_tick) if schedule.last_tick else "–"
        return format_html(
            '<a class="jobs-state jobs-{}" href="{}">{}</a><br>{}',
            schedule.last_state,
            reverse("admin:jobs_job_change", args=[schedule.last_job_id]),
            State(schedule.last_state).label,
            _time(schedule.last_at),
        )

    @admin.display(description=_("last day"))
    def shown_last_day(self, schedule: Any) -> SafeString | str:
        columns: list[Column] = getattr(schedule, "last_day", None) or []
        total, bad = sum(map(sum, columns)), sum(column.bad for column in columns)
        if not total:
            return "–"
        told = ngettext("%(count)d run", "%(count)d runs", total) % {"count": total}
        if total >= _COUNTED:
            told += "+"
        if bad:
            told += ", " + ngettext("%(count)d failed", "%(count)d failed", bad) % {"count": bad}
        return format_html("{}<br>{}", bars(columns, told), told)

    @admin.display(description=_("enabled"), boolean=True, ordering="enabled")
    def shown_enabled(self, schedule: Schedule) -> bool:
        return schedule.enabled and schedule.retired_at is None

    @admin.display(description=_("notice"))
    def shown_notice(self, schedule: Schedule) -> SafeString | str:
        if schedule.problem:
            return format_html('<span class="jobs-wrong">{}</span>', schedule.problem)
        if schedule.retired_at is not None:
            return gettext("retired: nothing declares it any more")
        if schedule.skips:
            because = {
                "overlap": gettext("the last run still lived"),
                cron.LATE: gettext("too late"),
            }
            told = ngettext("skipped once", "skipped %(count)d times", schedule.skips)
            why = because.get(schedule.skipped_because, schedule.skipped_because)
            return format_html("{}: {}", told % {"count": schedule.skips}, why)
        return ""

    # The page.

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        is_declared = obj is not None and obj.source != Schedule.Source.HAND
        form: Any = SwitchForm if is_declared else ScheduleForm
        kwargs |= {"form": form, "fields": list(form._meta.fields)}
        return super().get_form(request, obj, change, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        facts = [
            "source", "shown_rule", "shown_next_run", "shown_last_run", "shown_last_tick", "runs",
            "skips", "shown_skipped_tick", "shown_notice", "shown_created_at", "shown_retired_at",
        ]  # fmt: skip
        if obj is None or obj.source == Schedule.Source.HAND:
            return facts
        own = [name for name in _FIELDS if name not in ("enabled", "args", "kwargs")]
        return [*facts, *own, "shown_arguments"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        is_declared = obj is not None and obj.source != Schedule.Source.HAND
        may_edit = self.has_change_permission(request, obj) and not is_declared
        sections = [
            (title, {"fields": tuple(shown), **more})
            for title, names, more in _SECTIONS
            if (shown := names if may_edit else self._kept(request, names, obj))
        ]
        if obj is not None:
            facts = self.get_readonly_fields(request, None)
            sections.insert(2, (_("What came of it"), {"fields": tuple(facts)}))
        return sections

    def _kept(self, request: HttpRequest, names: tuple[str, ...], obj: Any) -> list[str]:
        """For who may not edit: what the row says, and of its arguments what they may see."""
        shown = [name for name in names if getattr(obj, name, None) not in (None, "")]
        if "args" in names and may_view_payload(request):
            shown.append("shown_arguments")
        return shown

    @admin.display(description=_("arguments"))
    def shown_arguments(self, schedule: Schedule) -> SafeString:
        return pretty(without_sensitive(schedule.task, schedule.arguments))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {"may_run": self.has_run_permission(request), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            found.last_day, found.seen_at = last_days([found.pk])[found.pk], now()
        return found

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.save(using=conf.settings().database)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        obj.delete(using=conf.settings().database)

    # What can be done.

    @admin.action(description=_("Enable the selected schedules"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        self._switch(request, queryset, on=True)

    @admin.action(description=_("Disable the selected schedules"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        self._switch(request, queryset, on=False)

    @admin.action(description=_("Run the selected schedules now"), permissions=["run"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        for schedule in queryset:
            self._run(request, schedule)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Schedule], *, on: bool) -> None:
        changed = list(queryset.filter(enabled=not on))
        rows = Schedule.objects.using(conf.settings().database)
        rows.filter(pk__in=[row.pk for row in changed]).update(enabled=on)
        if not changed:
            self.message_user(request, gettext("Nothing to change: so it was already."))
            return
        done = "enabled" if on else "disabled"
        for row in changed:
            self.log_change(request, row, [{"changed": {"fields": [done]}}])
        count = len(changed)
        told = ngettext("%(count)d schedule: %(done)s.", "%(count)d schedules: %(done)s.", count)
        words = {"count": count, "done": gettext("enabled") if on else gettext("disabled")}
        self.message_user(request, told % words, messages.SUCCESS)

    def _run(self, request: HttpRequest, schedule: Schedule) -> None:
        try:
            job = beat.run_now(schedule)
        except (JobsError, ImportError) as error:
            self.message_user(request, f"{schedule}: {error}", messages.ERROR)
            return
        self.log_change(
            request, schedule, [{"changed": {"fields": ["run now"], "object": str(job)}}]
        )
        told = format_html(
            '{}: <a href="{}">{}</a>',
            schedule,
            reverse("admin:jobs_job_change", args=[job.pk]),
            gettext("its job is enqueued"),
        )
        self.message_user(request, told, messages.SUCCESS)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("preview/", view(require_POST(self._preview)), name="jobs_schedule_preview"),
            path("<int:pk>/run/", view(require_POST(self._run_view)), name="jobs_schedule_run"),
        ]
        return own + super().get_urls()

    def _run_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_run_permission(request):
            raise PermissionDenied
        self._run(request, get_object_or_404(self.get_queryset(request), pk=pk))
        return HttpResponseRedirect(reverse("admin:jobs_schedule_change", args=[pk]))

    def _preview(self, request: HttpRequest) -> HttpResponse:
        """The next runs of what is typed; nothing is kept."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        form = self.get_form(request)(request.POST)
        return JsonResponse(preview(form))

    class Media:
        css = {"all": ["jobs/admin.css"]}
        js = ["jobs/schedule.js"]


_SECTIONS: list[tuple[Any, tuple[str, ...], dict[str, Any]]] = [
    (None, ("name", "description", "enabled", "task", "args", "kwargs"), {}),
    (
        _("When"),
        (
            "kind", "line", "timezone", "days", "interval", "anchor", "event", "latitude",
            "longitude", "starts_at", "ends_at", "max_runs",
        ),
        {"classes": ("jobs-when",)},
    ),
    (
        _("Missed ticks, overlapping runs, jitter"),
        ("catch_up", "catch_up_limit", "grace", "overlap", "jitter", "tick_argument"),
        {"classes": ("collapse",)},
    ),
    (
        _("Options of its jobs"),
        (
            "queue_name", "priority", "run_after", "max_attempts", "max_losses", "timeout",
            "expires_after", "metadata",
        ),
        {"classes": ("collapse",)},
    ),
]  # fmt: skip
_FIELDS = [name for _, names, _ in _SECTIONS for name in names]


def _time(value: Any) -> SafeString:
    shown = moment("value", "")(None, type("Row", (), {"value": value}))
    return SafeString(shown)


def ago(time: timedelta) -> str:
    """A duration in words, also when it is short."""
    if time < timedelta(minutes=2):
        seconds = int(time.total_seconds())
        return ngettext("%(num)d second", "%(num)d seconds", seconds) % {"num": seconds}
    moment = now()
    return timesince(moment - time, moment)


def last_days(pks: list[int]) -> dict[int, list[Column]]:
    """What became of each schedule's jobs of the last day, by the hour."""
    found = {pk: [Column()] * _HOURS for pk in pks}
    since = ids.first_of(timedelta(hours=_HOURS))
    with connections[conf.settings().database].cursor() as cursor:
        parameters: dict[str, Any] = {"ids": pks, "since": since, "most": _COUNTED}
        cursor.execute(_STATEMENTS["last_day"], parameters)
        for pk, hours_ago, state, count in cursor.fetchall():
            hour = _HOURS - 1 - min(max(hours_ago, 0), _HOURS - 1)
            found[pk][hour] = found[pk][hour].plus(state, count)
    return found
