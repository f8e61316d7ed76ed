"""The jobs' pages: list, one job with its attempts, retry and cancel."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from jobs import lifecycle
from jobs.errors import InvalidTransition
from jobs.models import Attempt, Job
from jobs.models.states import REASONS

from . import overview
from .base import ShowingAdmin, moment
from .filters import QueueFilter, StateFilter, TaskFilter
from .payload import without_sensitive


class AttemptInline(admin.TabularInline):  # type: ignore[type-arg]
    """The attempts that did not simply succeed."""

    model = Attempt
    extra = 0
    can_delete = False
    ordering = ("attempt",)
    verbose_name_plural = _("attempts that did not simply succeed")

    shown_started_at = moment("started_at", _("started at"))
    shown_finished_at = moment("finished_at", _("finished at"))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        facts = [
            "attempt",
            "outcome",
            "worker",
            "shown_started_at",
            "shown_finished_at",
        ]
        if may_view_payload(request):
            return [*facts, "exception_class_path", "message", "shown_traceback"]
        return facts

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return self.get_fields(request, obj)

    @admin.display(description=_("traceback"))
    def shown_traceback(self, attempt: Attempt) -> SafeString | str:
        if not attempt.traceback:
            return "–"
        return format_html(
            '<details><summary>{}</summary><pre class="jobs-traceback">{}</pre></details>',
            attempt.message.partition("\n")[0] or attempt.exception_class_path,
            attempt.traceback,
        )

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("jobs.view_job")

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(ShowingAdmin):
    list_display = (
        "short_id",
        "task",
        "shown_state",
        "queue_name",
        "attempt",
        "shown_enqueued_at",
        "shown_finished_at",
    )
    list_display_links = ("short_id", "task")
    list_filter = (StateFilter, QueueFilter, TaskFilter)
    ordering = ("-id",)
    # The search itself is get_search_results: an id, or a task's whole name.
    search_fields = ("id",)
    search_help_text = _("A job's id, or a task's whole name.")
    actions = ("retry", "cancel")
    inlines = (AttemptInline,)
    change_form_template = "admin/jobs/job/change_form.html"

    # What is shown.

    @admin.display(description=_("reason"))
    def shown_reason(self, job: Job[Any]) -> str:
        return str(REASONS.get(job.reason or "", job.reason or "–"))

    @admin.display(description=_("again"))
    def shown_again_of(self, job: Job[Any]) -> SafeString:
        """Which job it repeats, and for whom."""
        assert isinstance(job.metadata, dict)
        first, by = again_of(job), job.metadata.get("enqueued_by", "")
        url = reverse("admin:jobs_job_change", args=[first])
        return format_html('<a href="{}" class="jobs-id">{}</a> {}', url, first, by)

    shown_finished_at = moment("finished_at", _("finished at"))
    shown_enqueued_at = moment("enqueued_at", _("enqueued at"))
    shown_run_at = moment("run_at", _("run at"))
    shown_last_attempted_at = moment("last_attempted_at", _("last attempted at"))
    shown_expires_at = moment("expires_at", _("expires at"))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        general: tuple[str, ...] = (
            "id", "task", "shown_state", "shown_reason", "shown_progress", "queue_name", "priority",
            "worker",
        )  # fmt: skip
        if obj is not None and again_of(obj):
            general = (*general, "shown_again_of")
        times = (
            "shown_enqueued_at",
            "shown_run_at",
            "shown_last_attempted_at",
            "shown_finished_at",
            "shown_expires_at",
            "timeout",
        )
        counts = ("attempt", "failures", "max_attempts", "losses", "max_losses")
        cancelled = ("cancel_requested_at", "cancelled_by", "cancelled_because")
        sections: list[tuple[Any, dict[str, Any]]] = [(None, {"fields": general})]
        if may_view_payload(request):
            payload = ["shown_arguments", "shown_result", "shown_metadata"]
            if obj is not None and obj.failures + obj.losses:
                payload.insert(0, "shown_problem")
            sections.append((_("What came of it"), {"fields": payload}))
        sections.append((_("Times"), {"fields": times}))
        sections.append((_("Counts"), {"fields": counts}))
        if obj is not None and (obj.cancel_requested_at or obj.cancelled_at):
            sections.append((_("Cancellation"), {"fields": cancelled}))
        if obj is not None and obj.schedule_id:
            sections.append((_("Schedule"), {"fields": ("schedule_id", "tick")}))
        return sections

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [name for _, part in self.get_fieldsets(request, obj) for name in part["fields"]]

    @admin.display(description=_("id"), ordering="id")
    def short_id(self, job: Job[Any]) -> SafeString:
        # The end is random; the beginning is the same for jobs of the same minute.
        return format_html('<span class="jobs-id">…{}</span>', str(job.pk)[-12:])

    @admin.display(description=_("state"))
    def shown_state(self, job: Job[Any]) -> SafeString:
        return format_html(
            '<span class="jobs-state jobs-{}">{}</span>', job.state, job.get_state_display()
        )

    @admin.display(description=_("progress"))
    def shown_progress(self, job: Job[Any]) -> SafeString | str:
        progress = job.progress
        if progress is None:
            return "–"
        if progress.percent is None:
            return str(progress)
        return format_html(
            '<progress max="100" value="{}">{} %</progress> {}',
            f"{progress.percent:.0f}",
            f"{progress.percent:.0f}",
            str(progress),
        )

    @admin.display(description=_("last problem"))
    def shown_problem(self, job: Job[Any]) -> SafeString | str:
        attempt = job.last_problem
        if attempt is None:
            return "–"
        return format_html(
            "<strong>{}</strong><br>{}", attempt.exception_class_path, attempt.message
        )

    @admin.display(description=_("arguments"))
    def shown_arguments(self, job: Job[Any]) -> SafeString:
        return pretty(without_sensitive(job.task, job.arguments))

    @admin.display(description=_("result"))
    def shown_result(self, job: Job[Any]) -> SafeString:
        return pretty(job.result)

    @admin.display(description=_("metadata"))
    def shown_metadata(self, job: Job[Any]) -> SafeString:
        return pretty(job.metadata)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(term)), False
        except ValueError:
            return queryset.filter(task=term), False

    # What can be done.

    @admin.action(description=_("Retry the selected jobs"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Job[Any]]) -> None:
        self._each(request, queryset, _retry, "retried")

    @admin.action(description=_("Cancel the selected jobs"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job[Any]]) -> None:
        self._each(request, queryset, _cancel, "cancelled")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.retry_job")

    def has_run_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.run_job")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.cancel_job")

    def _each(
        self,
        request: HttpRequest,
        jobs: QuerySet[Job[Any]] | list[Job[Any]],
        verb: Callable[[HttpRequest, Job[Any]], str],
        done: str,
    ) -> None:
        """Do it to each; say to how many, and to which not and why."""
        count = 0
        for job in jobs:
            refusal = verb(request, job)
            if refusal:
                self.message_user(request, refusal, messages.WARNING)
                continue
            count += 1
            self.log_change(request, job, [{"changed": {"name": done, "object": str(job)}}])
        if count:
            told = ngettext("%(count)d job: %(done)s.", "%(count)d jobs: %(done)s.", count)
            words = {"count": count, "done": gettext(done)}
            self.message_user(request, told % words, messages.SUCCESS)

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                "overview/",
                self.admin_site.admin_view(self._overview),
                name="jobs_job_overview",
            ),
            path(
                "<uuid:pk>/retry/",
                self.admin_site.admin_view(require_POST(self._retry_view)),
                name="jobs_job_retry",
            ),
            path(
                "<uuid:pk>/again/",
                self.admin_site.admin_view(require_POST(self._again_view)),
                name="jobs_job_again",
            ),
            path(
                "<uuid:pk>/cancel/",
                self.admin_site.admin_view(require_POST(self._cancel_view)),
                name="jobs_job_cancel",
            ),
        ]
        return own + super().get_urls()

    def _retry_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        if not self.has_retry_permission(request):
            raise PermissionDenied
        return self._one(request, pk, _retry, "retried")

    def _cancel_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        if not self.has_cancel_permission(request):
            raise PermissionDenied
        return self._one(request, pk, _cancel, "cancelled")

    def _again_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """A new job; whoever asked for it is led to it."""
        if not self.has_run_permission(request):
            raise PermissionDenied
        job = get_object_or_404(self.get_queryset(request), pk=pk)
        made = job.run_again(by=request.user.get_username())
        self.log_addition(request, made, [{"added": {"name": "again", "object": str(job)}}])
        self.message_user(request, _("It is queued again, as this new job."), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[made.pk]))

    def _one(
        self,
        request: HttpRequest,
        pk: UUID,
        verb: Callable[[HttpRequest, Job[Any]], str],
        done: str,
    ) -> HttpResponse:
        jobs = self.get_queryset(request).filter(pk=pk)
        self._each(request, jobs, verb, done)
        return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[pk]))

    def _overview(self, request: HttpRequest) -> HttpResponse:
        """What the front page shows, for its script."""
        # As AdminSite does for its own pages.
        request.current_app = self.admin_site.name
        if not overview.is_for(request):
            raise PermissionDenied
        return render(request, "admin/jobs/overview.html", overview.context(request))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {
            "may_retry": self.has_retry_permission(request),
            "may_cancel": self.has_cancel_permission(request),
            "may_run": self.has_run_permission(request),
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)


def again_of(job: Job[Any]) -> UUID | None:
    """The job that this one repeats, if its metadata names one: anybody may have written that."""
    named = job.metadata.get(lifecycle.AGAIN_OF) if isinstance(job.metadata, dict) else None
    try:
        return UUID(str(named)) if named else None
    except ValueError:
        return None


def may_view_payload(request: HttpRequest) -> bool:
    return request.user.has_perm("jobs.view_payload")


def _retry(request: HttpRequest, job: Job[Any]) -> str:
    try:
        lifecycle.retry(job)
    except InvalidTransition:
        told = gettext("%(job)s is %(state)s; only what failed or was cancelled can be retried.")
        return told % {"job": job, "state": job.get_state_display()}
    return ""


def _cancel(request: HttpRequest, job: Job[Any]) -> str:
    if lifecycle.cancel(job, by=request.user.get_username()):
        return ""
    told = gettext("%(job)s has already ended: %(state)s.")
    return told % {"job": job, "state": job.get_state_display()}


def pretty(value: Any) -> SafeString:
    text = "–" if value is None else json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="jobs-payload">{}</pre>', text)
