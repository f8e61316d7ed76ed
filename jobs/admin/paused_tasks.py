"""The tasks' pauses: which are paused, why and until when; pause another, resume."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from jobs import lifecycle
from jobs.models import PausedTask

from . import pausing
from .base import ShowingAdmin, moment


@admin.register(PausedTask)
class PausedTaskAdmin(ShowingAdmin):
    list_display = (
        "name", "shown_paused_at", "paused_by", "paused_because", "shown_paused_until",
    )  # fmt: skip
    readonly_fields = list_display
    fields = list_display
    actions = ("resume",)

    shown_paused_at = moment("paused_at", _("paused at"))
    shown_paused_until = moment("paused_until", _("paused until"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_pause_permission(request)

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.pause_task")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Pause a task; `?task=` names it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            form = pausing.PauseTaskForm(initial={"task": request.GET.get("task", "")})
            return pausing.page(self, request, form, [])
        form = pausing.PauseTaskForm(request.POST)
        if not form.is_valid():
            return pausing.page(self, request, form, [])
        name = form.cleaned_data["task"]
        lifecycle.pause_task(name, by=request.user.get_username(), **form.said)
        row = self.get_queryset(request).get(pk=name)
        self.log_change(request, row, [{"changed": {"name": "paused"}}])
        self.message_user(request, _("Paused: running jobs go on."), messages.SUCCESS)
        return self._to_list()

    def _to_list(self) -> HttpResponse:
        site = self.admin_site.name
        return HttpResponseRedirect(reverse("admin:jobs_pausedtask_changelist", current_app=site))

    @admin.action(description=_("Resume the selected tasks"), permissions=["pause"])
    def resume(self, request: HttpRequest, queryset: QuerySet[PausedTask]) -> None:
        for task in queryset:
            lifecycle.resume_task(task.name)
            self.log_change(request, task, [{"changed": {"name": "resumed"}}])
        self.message_user(request, _("Resumed: workers see it within seconds."), messages.SUCCESS)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("jobs.view_pausedtask") or self.has_pause_permission(request)
