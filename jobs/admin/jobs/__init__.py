"""The jobs' pages: the list, what is done to many, one job's life, failures by their kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from jobs import conf, lifecycle
from jobs.errors import InvalidTransition
from jobs.models import Job

from .. import overview
from ..base import ShowingAdmin
from ..zones import in_viewers_zone
from . import kind, kinds, page
from .bulk import action, is_id
from .columns import COLUMNS, JobColumns
from .filters import FILTERS
from .listing import JobChangeList
from .verbs import VERBS


@admin.register(Job)
class JobAdmin(JobColumns, ShowingAdmin):
    list_display = ("shown_task", "shown_state", "shown_note", "queue_name", "shown_enqueued_at")
    list_filter = FILTERS
    # Which order it is depends on what is looked for (see asked).
    sortable_by = ()
    # The search itself is in asked.
    search_fields = ("id",)
    search_help_text = _("A job's id, a part of a task's name, or error: and words of an error.")
    actions = tuple(action(name) for name in VERBS)
    change_form_template = "admin/jobs/job/change_form.html"

    # The page shows none of them (see page.py); none is to be edited either.
    fields = ("id",)
    readonly_fields = fields

    def get_list_display(self, request: HttpRequest) -> Any:
        """Beside the usual ones, those that say most of the state that is looked at."""
        display = super().get_list_display(request)
        more = COLUMNS.get(request.GET.get("state", ""), ())  # type: ignore[call-overload]
        if not more or display != JobAdmin.list_display:
            return display
        return (*display[:-1], *more) if len(more) == 1 else (*display[:3], *more)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[JobChangeList]:
        return JobChangeList

    @in_viewers_zone
    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().change_view(request, *args, **kwargs)

    @method_decorator(transaction.non_atomic_requests)
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """What is done to many is done in parts, also where requests are transactions."""
        return super().changelist_view(request, extra_context)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        for selected in request.POST.getlist(helpers.ACTION_CHECKBOX_NAME):
            if not is_id(selected):
                raise BadRequest(f"{selected!r} is no id of a job")
        return super().response_action(request, queryset, *args, **kwargs)

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

    def has_silence_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.silence_kind")

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=f"jobs_job_{name}")

        # Where requests are transactions, that of the jobs' database, too.
        non_atomic: set[str] = getattr(self.changelist_view, "_non_atomic_requests", set())
        non_atomic.add(conf.database())
        return [
            at("overview/", self._overview, "overview"),
            at("kinds/", self._kinds, "kinds"),
            at("kinds/<str:fingerprint>/", self._kind, "kind"),
            at("kinds/<str:fingerprint>/silence/", self._silence, "silence"),
            at("kinds/<str:fingerprint>/hear/", require_POST(self._hear), "hear"),
            at("<uuid:pk>/life/", self._life, "life"),
            at("<uuid:pk>/download/", self._download, "download"),
            at("<uuid:pk>/retry/", require_POST(self._retry), "retry"),
            at("<uuid:pk>/again/", self._again, "again"),
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
            self.log_change(request, job, [{"changed": {"fields": ["retry"]}}])
            self.message_user(request, _("It is queued again."), messages.SUCCESS)
        return self._to(job)

    def _again(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Asks first; then a new job, to which whoever asked for it is led."""
        if not self.has_run_permission(request):
            raise PermissionDenied
        job = self._found(request, pk)
        if not job.is_finished:
            self.message_user(request, _("It has not ended yet."), messages.WARNING)
            return self._to(job)
        form = page.form_again(request, job)
        is_wrong = form is not None and "edited" in request.POST and not form.is_valid()
        if request.method != "POST" or is_wrong:
            asked = page.asked_again(self, request, job, form)
            return render(request, "admin/jobs/job/again.html", asked)
        by, changed = request.user.get_username(), []
        if form is not None and "edited" in request.POST:
            changed = list(form.changes)
        call = form.call if form is not None and changed else None
        made = lifecycle.again(job, by=by, arguments=call, changed=changed)
        what = " ".join([str(_("again")), *changed])
        self.log_addition(request, made, [{"added": {"name": what, "object": str(job)}}])
        self.message_user(request, _("It is queued again, as this new job."), messages.SUCCESS)
        return self._to(made)

    def _found(self, request: HttpRequest, pk: UUID) -> Job[Any]:
        self._may_see(request)
        job: Job[Any] = get_object_or_404(self.get_queryset(request), pk=pk)
        return job

    def _to(self, job: Job[Any]) -> HttpResponse:
        site = self.admin_site.name
        return HttpResponseRedirect(
            reverse("admin:jobs_job_change", args=[job.pk], current_app=site)
        )

    @in_viewers_zone
    def _life(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """What changes of a job's page while it lives, for its script."""
        context = page.living(self, request, self._found(request, pk))
        return render(request, "admin/jobs/job/life.html", context)

    def _download(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        return page.download(request, self._found(request, pk))

    @in_viewers_zone
    def _kinds(self, request: HttpRequest) -> HttpResponse:
        """Failures by their kind."""
        self._may_see(request)
        return render(request, "admin/jobs/job/kinds.html", kinds.context(self, request))

    @in_viewers_zone
    def _kind(self, request: HttpRequest, fingerprint: str) -> HttpResponse:
        """The failures of one kind, and what may be done about them."""
        self._may_see(request)
        context = kind.context(self, request, fingerprint)
        return render(request, "admin/jobs/job/kind.html", context)

    def _silence(self, request: HttpRequest, fingerprint: str) -> HttpResponse:
        """Asks first why, and for how long."""
        self._may_see(request)
        if not self.has_silence_permission(request):
            raise PermissionDenied
        return kind.silence(self, request, fingerprint)

    def _hear(self, request: HttpRequest, fingerprint: str) -> HttpResponse:
        self._may_see(request)
        if not self.has_silence_permission(request):
            raise PermissionDenied
        return kind.hear(self, request, fingerprint)

    def _may_see(self, request: HttpRequest) -> None:
        request.current_app = self.admin_site.name
        if not self.has_view_permission(request):
            raise PermissionDenied

    @in_viewers_zone
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
