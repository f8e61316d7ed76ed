"""The workers' page: who lives, what each serves, when it was last heard of."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from jobs import conf
from jobs.models import Worker

from .base import ShowingAdmin, moment
from .words import at_pace, briefly


@admin.register(Worker)
class WorkerAdmin(ShowingAdmin):
    list_display = (
        "name", "host", "pid", "serves", "running", "slots", "shown_pace", "shown_claim_time",
        "shown_memory", "ended", "heard_of", "shown_started_at", "version",
    )  # fmt: skip
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

    @admin.display(description=_("pace"))
    def shown_pace(self, worker: Worker) -> str:
        return at_pace(worker.pace)

    @admin.display(description=_("claim time"))
    def shown_claim_time(self, worker: Worker) -> str:
        return "–" if worker.claim_time is None else briefly(worker.claim_time)

    @admin.display(description=_("memory"))
    def shown_memory(self, worker: Worker) -> str:
        return "–" if worker.memory is None else filesizeformat(worker.memory)

    @admin.display(description=_("last heard of"))
    def heard_of(self, worker: Worker) -> str:
        age = (datetime.now(UTC) - worker.heartbeat_at).total_seconds()
        told = ngettext("%d second ago", "%d seconds ago", round(age)) % round(age)
        # As the overview has it.
        if age > conf.settings().heartbeat_timeout.total_seconds() / 2:
            return f"⚠ {told}"
        return told

    shown_started_at = moment("started_at", _("started at"))
