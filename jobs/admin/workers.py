"""The workers' page: who lives, what each serves, when it was last heard of."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from jobs import conf
from jobs.models import Worker

from .base import ShowingAdmin


@admin.register(Worker)
class WorkerAdmin(ShowingAdmin):
    list_display = ("name", "host", "pid", "serves", "slots", "heard_of", "started_at", "version")
    readonly_fields = (*list_display, "runners", "idle", "stopping")
    fields = readonly_fields

    @admin.display(description=_("serves"))
    def serves(self, worker: Worker) -> str:
        named = _("all queues") if worker.queues is None else ", ".join(worker.queues)
        if worker.excluded_queues:
            return f"{named} – {', '.join(worker.excluded_queues)}"
        return str(named)

    @admin.display(description=_("slots"))
    def slots(self, worker: Worker) -> str:
        return f"{worker.processes} × ({worker.threads} + {worker.coroutines} async)"

    @admin.display(description=_("last heard of"))
    def heard_of(self, worker: Worker) -> str:
        age = (datetime.now(UTC) - worker.heartbeat_at).total_seconds()
        told = ngettext("%d second ago", "%d seconds ago", round(age)) % round(age)
        if age > 2 * conf.settings().heartbeat_interval.total_seconds():
            return f"⚠ {told}"
        return told
