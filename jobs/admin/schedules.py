"""The schedules' page: the rules, their last and next ticks, and what is wrong with any."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from jobs.models import Schedule

from .base import ShowingAdmin, moment


@admin.register(Schedule)
class ScheduleAdmin(ShowingAdmin):
    shown_next_run_at = moment("next_run_at", _("next run at"))
    shown_last_tick = moment("last_tick", _("last tick"))

    list_display = (
        "name",
        "task",
        "shown_rule",
        "shown_next_run_at",
        "shown_last_tick",
        "last_job",
        "enabled",
        "problem",
    )
    shown_retired_at = moment("retired_at", _("retired at"))
    shown_created_at = moment("created_at", _("created at"))
    readonly_fields = (*list_display, "source", "shown_retired_at", "shown_created_at")
    fields = readonly_fields

    @admin.display(description=_("rule"))
    def shown_rule(self, schedule: Schedule) -> SafeString | str:
        if schedule.kind == Schedule.Kind.CRON:
            line = f"{schedule.line} {schedule.timezone}".rstrip()
            return format_html('<span class="jobs-nowrap">{}</span>', line)
        if schedule.kind == Schedule.Kind.INTERVAL:
            return _("every %(interval)s") % {"interval": schedule.interval}
        return f"{schedule.anchor:%Y-%m-%d %H:%M:%S %Z}"

    @admin.display(description=_("last job"))
    def last_job(self, schedule: Schedule) -> SafeString | str:
        if schedule.last_job_id is None:
            return "–"
        url = reverse("admin:jobs_job_change", args=[schedule.last_job_id])
        return format_html('<a href="{}">…{}</a>', url, str(schedule.last_job_id)[-12:])
