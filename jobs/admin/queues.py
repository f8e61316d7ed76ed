"""The queues' page: what waits in each, paused or not; pause and resume."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jobs import conf, lifecycle
from jobs.models import Job, Queue, Worker

from . import pausing
from .base import CappedPaginator, ShowingAdmin


@admin.register(Queue)
class QueueAdmin(ShowingAdmin):
    list_display = ("name", "ready", "scheduled", "workers", "shown_pause")
    actions = ("pause", "resume")
    readonly_fields = list_display
    fields = list_display

    @admin.display(description=_("paused"))
    def shown_pause(self, queue: Queue) -> str:
        if not queue.is_paused:
            return "–"
        told = pausing.told(queue.paused_by, queue.paused_because, queue.paused_until)
        return told or gettext("paused")

    @admin.display(description=_("ready"))
    def ready(self, queue: Queue) -> str:
        return _capped(_jobs().filter(queue_name=queue.name).ready())

    @admin.display(description=_("scheduled"))
    def scheduled(self, queue: Queue) -> str:
        return _capped(_jobs().filter(queue_name=queue.name).scheduled())

    @admin.display(description=_("workers"))
    def workers(self, queue: Queue) -> int:
        return sum(
            queue.name not in (worker.excluded_queues or ())
            and (worker.queues is None or queue.name in worker.queues)
            for worker in Worker.objects.using(conf.settings().database)
        )

    @admin.action(description=_("Pause the selected queues"), permissions=["pause"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Queue]) -> HttpResponse | None:
        """Asks first why, and for how long."""
        queues = list(queryset)
        is_confirmed = "confirmed" in request.POST
        form = pausing.PauseForm(request.POST if is_confirmed else None)
        if not (is_confirmed and form.is_valid()):
            return pausing.page(self, request, form, [queue.name for queue in queues])
        for queue in queues:
            lifecycle.pause(queue.name, by=request.user.get_username(), **form.said)
            self.log_change(request, queue, [{"changed": {"name": "paused"}}])
        self.message_user(request, _("Paused: running jobs go on."), messages.SUCCESS)
        return None

    @admin.action(description=_("Resume the selected queues"), permissions=["pause"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Queue]) -> None:
        for queue in queryset:
            lifecycle.resume(queue.name)
            self.log_change(request, queue, [{"changed": {"name": "resumed"}}])
        self.message_user(request, _("Resumed."), messages.SUCCESS)

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.pause_queue")


def _jobs() -> Any:
    return Job.objects.using(conf.settings().database)


def _capped(jobs: QuerySet[Any]) -> str:
    most = CappedPaginator.most
    count = jobs[:most].count()
    return f"{count:,}" if count < most else f"{most:,}+"
