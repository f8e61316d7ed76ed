"""The jobs' pages: list, one job with its attempts, retry and cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from jobs import lifecycle
from jobs.errors import InvalidTransition
from jobs.models import Job

from .. import overview
from ..base import ShowingAdmin, moment
from . import page
from .bulk import VERBS, action
from .columns import JobColumns
from .filters import FILTERS
from .listing import JobChangeList


@admin.register(Job)
class JobAdmin(JobColumns, ShowingAdmin):
    list_display = ("shown_task", "shown_state", "shown_note", "queue_name", "shown_enqueued_at")
    list_filter = FILTERS
    # Which order it is depends on what is looked for (see asked).
    sortable_by = ()
    # The search itself is in asked.
    search_fields = ("id",)
    search_help_text = _("A job's id, a part of a task's name, or words of an error.")
    actions = tuple(action(name) for name in VERBS)
    change_form_template = "admin/jobs/job/change_form.html"

    # What is shown.

    shown_run_at = moment("run_at", _("run at"))
    shown_expires_at = moment("expires_at", _("expires at"))

    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("id", "task"),
                    ("queue_name", "priority", "worker"),
                    ("shown_run_at", "shown_expires_at", "timeout", "tick"),
                    ("attempt", "failures", "max_attempts", "losses", "max_losses"),
                )
            },
        ),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return flatten_fieldsets(self.get_fieldsets(request, obj))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[JobChangeList]:
        return JobChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return queryset, False

    # What can be done.

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.retry_job")

    def has_run_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.run_job")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.cancel_job")

    def has_move_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.move_job")

    def has_remove_permission(self, request: HttpRequest) -> bool:
        """Of jobs that have ended; Django's own deletion would delete any."""
        return request.user.has_perm("jobs.delete_job")

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=f"jobs_job_{name}")

        return [
            at("overview/", self._overview, "overview"),
            at("<uuid:pk>/life/", self._life, "life"),
            at("<uuid:pk>/download/", self._download, "download"),
            at("<uuid:pk>/retry/", require_POST(self._retry), "retry"),
            at("<uuid:pk>/again/", require_POST(self._again), "again"),
            *super().get_urls(),
        ]

    def _retry(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        if not self.has_retry_permission(request):
            raise PermissionDenied
        job = self._found(request, pk)
        try:
            lifecycle.retry(job)
        except InvalidTransition:
            told = _("%(job)s is %(state)s; only what failed or was cancelled can be retried.")
            words = {"job": job, "state": job.get_state_display()}
            self.message_user(request, told % words, messages.WARNING)
        else:
            self.log_change(request, job, [{"changed": {"name": "retry", "object": str(job)}}])
            self.message_user(request, _("It is queued again."), messages.SUCCESS)
        return self._to(job)

    def _again(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """A new job; whoever asked for it is led to it."""
        if not self.has_run_permission(request):
            raise PermissionDenied
        job = self._found(request, pk)
        made = job.run_again(by=request.user.get_username())
        self.log_addition(request, made, [{"added": {"name": "again", "object": str(job)}}])
        self.message_user(request, _("It is queued again, as this new job."), messages.SUCCESS)
        return self._to(made)

    def _found(self, request: HttpRequest, pk: UUID) -> Job[Any]:
        request.current_app = self.admin_site.name
        if not self.has_view_permission(request):
            raise PermissionDenied
        job: Job[Any] = get_object_or_404(self.get_queryset(request), pk=pk)
        return job

    def _to(self, job: Job[Any]) -> HttpResponse:
        site = self.admin_site.name
        return HttpResponseRedirect(
            reverse("admin:jobs_job_change", args=[job.pk], current_app=site)
        )

    def _life(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """What changes of a job's page while it lives, for its script."""
        context = page.living(self, request, self._found(request, pk))
        return render(request, "admin/jobs/job/life.html", context)

    def _download(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        return page.download(request, self._found(request, pk))

    def _overview(self, request: HttpRequest) -> HttpResponse:
        """What the front page shows, for its script."""
        # As AdminSite does for its own pages.
        request.current_app = self.admin_site.name
        if not overview.is_for(request):
            raise PermissionDenied
        return render(request, "admin/jobs/overview.html", overview.context(request))

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        if obj is not None:
            context |= page.whole(self, request, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)
