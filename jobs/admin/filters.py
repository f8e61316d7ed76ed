"""Filters of the job list: each uses an index, a small table, or walks the key from its end."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from jobs import conf
from jobs.models import JobQuerySet, Queue, State
from jobs.tasks import registered

Choices = list[tuple[str, Any]]


class StateFilter(SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return list(State.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        jobs = queryset
        assert isinstance(jobs, JobQuerySet)
        match self.value():
            case State.QUEUED:
                return jobs.queued()
            case State.RUNNING:
                return jobs.running()
            case State.FAILED:
                return jobs.failed()
            case State.CANCELLED:
                return jobs.cancelled()
            case State.SUCCEEDED:
                return jobs.succeeded()
            case State.WAITING:
                return jobs.filter(state=State.WAITING)
        return None


class QueueFilter(SimpleListFilter):
    title = _("queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(name, name) for name in queue_names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        return queryset.filter(queue_name=self.value()) if self.value() else None


class TaskFilter(SimpleListFilter):
    title = _("task")
    parameter_name = "task"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(name, name) for name in registered()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        return queryset.filter(task=self.value()) if self.value() else None


def queue_names() -> list[str]:
    """The queues that anybody has named: settings, tasks, and the workers' finds."""
    names = set(conf.settings().queues or ())
    names |= {task.queue_name for task in registered().values()}
    names |= set(Queue.objects.using(conf.settings().database).values_list("name", flat=True))
    return sorted(names)
