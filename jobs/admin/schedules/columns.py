"""What the list of schedules shows: words, the next run and how late it is, the last run and what
came of it, the last day as a picture, and what is wrong.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db import connections
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from jobs import conf, cron, ids
from jobs.errors import InvalidSchedule
from jobs.lifecycle.statements import read_all
from jobs.models import Schedule, State
from jobs.models.schedule import LATE

from ..base import ShowingAdmin, moment, to_the_second
from ..payload import pretty, without_sensitive
from ..pictures import Column, bars
from .form import now

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


class ScheduleColumns(ShowingAdmin):
    """Methods for `list_display` and read-only fields."""

    shown_last_tick = moment("last_tick", _("last tick"))
    shown_created_at = moment("created_at", _("created at"))
    shown_retired_at = moment("retired_at", _("retired at"))
    shown_skipped_tick = moment("skipped_tick", _("last skipped tick"))

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
        shown = to_the_second(schedule.next_run_at) if schedule.next_run_at else ""
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
            return to_the_second(schedule.last_tick) if schedule.last_tick else "–"
        return format_html(
            '<a class="jobs-state jobs-{}" href="{}">{}</a><br>{}',
            schedule.last_state,
            reverse("admin:jobs_job_change", args=[schedule.last_job_id]),
            State(schedule.last_state).label,
            to_the_second(schedule.last_at),
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

    @admin.display(description=_("arguments"))
    def shown_arguments(self, schedule: Schedule) -> SafeString:
        return pretty(without_sensitive(schedule.task, schedule.arguments))


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
