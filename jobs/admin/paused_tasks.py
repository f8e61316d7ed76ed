"""The tasks' pauses: which are paused, why and until when; pause another, resume."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from jobs import lifecycle
from jobs.models import PausedTask

from . import pausing
from .base import ShowingAdmin, moment
from .places import asked


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

    def get_queryset(self, request: HttpRequest) -> QuerySet[PausedTask]:
        """Without those that are over, which stay until all that they put off is back."""
        return super().get_queryset(request).exclude(paused_until__lte=Now())

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
        form = pausing.PauseTaskForm(
            request.POST if request.method == "POST" else None,
            initial={"task": asked(request, "task")},
        )
        if not form.is_valid():
            task = self.get_queryset(request).filter(pk=asked(request, "task")).first()
            present = [] if task is None else [_pause(task)]
            return pausing.page(self, request, form, names=[], present=present)
        name = form.cleaned_data["task"]
        row = lifecycle.pause_task(name, by=request.user.get_username(), **form.said)
        self.log_change(request, row, [{"changed": {"fields": ["paused"]}}])
        told = _("Paused: %(names)s. Running jobs go on.") % {"names": name}
        self.message_user(request, told, messages.SUCCESS)
        return pausing.back(self, request)

    @admin.action(description=_("Resume the selected tasks"), permissions=["pause"])
    def resume(self, request: HttpRequest, queryset: QuerySet[PausedTask]) -> HttpResponse:
        tasks = list(queryset)
        for task in tasks:
            lifecycle.resume_task(task.name)
            self.log_change(request, task, [{"changed": {"fields": ["resumed"]}}])
        told = _("Resumed: %(names)s. Workers see it within seconds.")
        names = ", ".join(task.name for task in tasks)
        self.message_user(request, told % {"names": names}, messages.SUCCESS)
        return pausing.back(self, request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("jobs.view_pausedtask") or self.has_pause_permission(request)


def _pause(task: PausedTask) -> str:
    told = pausing.told(task.paused_by, task.paused_because, task.paused_until)
    return f"{task.name}: {told}" if told else task.name
