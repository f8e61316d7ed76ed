"""What PostgreSQL refuses of jobs, and the workers that died: shown, never edited."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from jobs.models import DeadWorker, Refusal

from .base import ShowingAdmin, moment

_OF_JOBS = {
    Refusal.Subject.END,
    Refusal.Subject.CLAIM,
    Refusal.Subject.RESCUE,
    Refusal.Subject.ATTEMPT,
    Refusal.Subject.FOLLOWER,
    Refusal.Subject.LOG,
    Refusal.Subject.PROGRESS,
    Refusal.Subject.PRUNING,
}


@admin.register(Refusal)
class RefusalAdmin(ShowingAdmin):
    list_display = (
        "subject", "of", "message", "shown_first_at", "shown_last_at", "times", "reported_by",
    )  # fmt: skip
    list_display_links = None
    list_filter = ("subject",)
    readonly_fields = list_display
    fields = list_display

    @admin.display(description=_("of"), ordering="key")
    def of(self, refusal: Refusal) -> SafeString | str:
        if refusal.subject not in _OF_JOBS:
            return refusal.key
        # Tried again by itself; the job's page has what a person may do.
        url = f"../job/{refusal.key}/change/"
        return format_html('<a href="{}">{}</a>', url, refusal.key)

    shown_first_at = moment("first_at", _("first refused at"))
    shown_last_at = moment("last_at", _("last refused at"))


@admin.register(DeadWorker)
class DeadWorkerAdmin(ShowingAdmin):
    list_display = (
        "name", "host", "pid", "shown_started_at", "shown_heartbeat_at", "shown_declared_dead_at",
        "rescued",
    )  # fmt: skip
    list_display_links = None
    readonly_fields = list_display
    fields = list_display

    shown_started_at = moment("started_at", _("started at"))
    shown_heartbeat_at = moment("heartbeat_at", _("last heartbeat"))
    shown_declared_dead_at = moment("declared_dead_at", _("declared dead at"))
