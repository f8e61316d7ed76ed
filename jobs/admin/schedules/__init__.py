"""The schedules' pages: when each runs, what came of it, and what is wrong with any; a form with
the next runs; enable, disable, run now.

Whoever may change a schedule decides what code runs, and when: a permission of its own.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from jobs import beat, conf
from jobs.errors import JobsError
from jobs.models import Job, Schedule

from ..payload import may_view_payload
from .columns import HealthFilter, ScheduleColumns, ScheduleList, last_days
from .form import ScheduleForm, SwitchForm, now, preview


@admin.register(Schedule)
class ScheduleAdmin(ScheduleColumns):
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
        if not may_view_payload(request):
            return [name for name in shown if name != "metadata"]
        return [*shown, "shown_arguments"] if "args" in names else shown

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
        except Exception as error:
            # Its row may hold anything: the page says what is wrong with it.
            told = (
                str(error) if isinstance(error, JobsError) else f"{type(error).__name__}: {error}"
            )
            self.message_user(request, f"{schedule}: {told}", messages.ERROR)
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
