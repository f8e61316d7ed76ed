"""The filters beside the list of jobs: they offer, and say what was chosen; `asked` heeds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from jobs import conf
from jobs.lifecycle.statements import read_all
from jobs.models import State
from jobs.tasks import registered

from .. import known
from ..payload import may_view_payload

Choices = list[tuple[str, Any]]

_STATEMENTS = read_all(Path(__file__).parent)


class Offered(SimpleListFilter):
    """Offers some, and what was chosen, whatever that is."""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        choices = self.offers(request)
        chosen = self.value()
        if chosen and chosen not in {value for value, _ in choices}:
            choices.append((chosen, chosen))
        return choices

    def offers(self, request: HttpRequest) -> Choices:
        return []

    @property
    def told(self) -> str:
        """What was chosen, in words."""
        chosen = self.value()
        return next((str(told) for value, told in self.lookup_choices if value == chosen), "")

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        return None


class StateFilter(Offered):
    title = _("state")
    parameter_name = "state"

    def offers(self, request: HttpRequest) -> Choices:
        return list(State.choices)


class WithinFilter(Offered):
    title = _("enqueued")
    parameter_name = "within"

    def offers(self, request: HttpRequest) -> Choices:
        return [
            ("hour", _("in the last hour")),
            ("day", _("in the last day")),
            ("week", _("in the last week")),
        ]


class SinceFilter(Offered):
    title = _("enqueued since")
    parameter_name = "since"


class UntilFilter(Offered):
    title = _("enqueued until")
    parameter_name = "until"


class QueueFilter(Offered):
    title = _("queue")
    parameter_name = "queue"

    def offers(self, request: HttpRequest) -> Choices:
        return [(name, name) for name in known.queues()]


class TaskFilter(Offered):
    title = _("task")
    parameter_name = "task"

    def offers(self, request: HttpRequest) -> Choices:
        return [(name, name) for name in registered()]


class WorkerFilter(Offered):
    title = _("worker")
    parameter_name = "worker"


class ErrorFilter(Offered):
    """Where failures are looked at, and by whom errors may be seen."""

    title = _("error")
    parameter_name = "error"

    def offers(self, request: HttpRequest) -> Choices:
        if request.GET.get("state") != State.FAILED or not may_view_payload(request):
            return []
        with connections[conf.settings().database].cursor() as cursor:
            cursor.execute(_STATEMENTS["errors"])
            return [(path, path.removeprefix("builtins.")) for (path,) in cursor.fetchall()]


class KindFilter(Offered):
    title = _("failures of one kind")
    parameter_name = "kind"


class ScheduleFilter(Offered):
    title = _("schedule")
    parameter_name = "schedule"


class WorkflowFilter(Offered):
    title = _("workflow")
    parameter_name = "workflow"


FILTERS = (
    StateFilter,
    ErrorFilter,
    KindFilter,
    WithinFilter,
    SinceFilter,
    UntilFilter,
    QueueFilter,
    TaskFilter,
    WorkerFilter,
    ScheduleFilter,
    WorkflowFilter,
)
