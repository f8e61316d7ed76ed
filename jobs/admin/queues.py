"""The queues' page: what waits in each, paused or not; pause and resume."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jobs import conf, lifecycle
from jobs.models import Queue, Worker

from . import pausing
from .base import ShowingAdmin
from .overview import figures
from .words import capped


class QueueList(ChangeList):
    """Its columns, of all queues at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        _fill(self.result_list)


@admin.register(Queue)
class QueueAdmin(ShowingAdmin):
    list_display = ("name", "ready", "scheduled", "waiting", "workers", "shown_pause")
    actions = ("pause", "resume")
    readonly_fields = list_display
    fields = list_display

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[QueueList]:
        return QueueList

    def get_object(self, *args: Any, **kwargs: Any) -> Any:
        queue = super().get_object(*args, **kwargs)
        if queue is not None:
            _fill([queue])
        return queue

    @admin.display(description=_("ready"))
    def ready(self, queue: Any) -> str:
        return capped(queue.line.ready)

    @admin.display(description=_("scheduled"))
    def scheduled(self, queue: Any) -> str:
        return capped(queue.line.scheduled)

    @admin.display(description=_("waiting"))
    def waiting(self, queue: Any) -> str:
        return capped(queue.line.waiting)

    @admin.display(description=_("workers"))
    def workers(self, queue: Any) -> int:
        return int(queue.workers)

    @admin.display(description=_("paused"))
    def shown_pause(self, queue: Queue) -> str:
        return _pause(queue) if queue.is_paused else "–"

    @admin.action(description=_("Pause the selected queues"), permissions=["pause"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Queue]) -> HttpResponse | None:
        """Asks first why, and for how long."""
        queues = list(queryset)
        is_confirmed = "confirmed" in request.POST
        form = pausing.PauseForm(request.POST if is_confirmed else None)
        if not (is_confirmed and form.is_valid()):
            names = [queue.name for queue in queues]
            present = [f"{queue.name}: {_pause(queue)}" for queue in queues if queue.is_paused]
            return pausing.page(self, request, form, names=names, present=present)
        for queue in queues:
            lifecycle.pause(queue.name, by=request.user.get_username(), **form.said)
            self.log_change(request, queue, [{"changed": {"fields": ["paused"]}}])
        told = _("Paused: %(names)s. Running jobs go on.")
        self._tell(request, told, queues)
        return pausing.back(self, request)

    @admin.action(description=_("Resume the selected queues"), permissions=["pause"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Queue]) -> HttpResponse:
        queues = list(queryset)
        for queue in queues:
            lifecycle.resume(queue.name)
            self.log_change(request, queue, [{"changed": {"fields": ["resumed"]}}])
        self._tell(request, _("Resumed: %(names)s."), queues)
        return pausing.back(self, request)

    def _tell(self, request: HttpRequest, told: Any, queues: list[Queue]) -> None:
        names = ", ".join(queue.name for queue in queues)
        self.message_user(request, told % {"names": names}, messages.SUCCESS)

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.pause_queue")


def _pause(queue: Queue) -> str:
    told = pausing.told(queue.paused_by, queue.paused_because, queue.paused_until)
    return told or gettext("paused")


def _fill(queues: Iterable[Any]) -> None:
    """Give each its line (see figures) and how many workers serve it. Two queries."""
    alias = conf.settings().database
    with connections[alias].cursor() as cursor:
        lines = {line.name: line for line in figures.read_lines(cursor)}
    workers = list(Worker.objects.using(alias))
    for queue in queues:
        # A queue that was made just now has none.
        queue.line = lines.get(queue.name) or figures.Line(queue.name, 0, None, 0, 0, 0.0)
        queue.workers = sum(worker.serves(queue.name) for worker in workers)
