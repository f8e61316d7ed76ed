"""The page on which a queue or a task is paused: why, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin, helpers
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jobs.tasks import registered

# Half a year: what is paused for longer is paused until somebody resumes it.
_LONGEST = 263_000


class PauseForm(forms.Form):
    because = forms.CharField(
        label=_("Reason"),
        max_length=1_000,
        required=False,
        widget=forms.TextInput(attrs={"size": 60}),
        help_text=_("Others read it where they wonder why nothing runs."),
    )
    minutes = forms.IntegerField(
        label=_("For how many minutes"),
        min_value=1,
        max_value=_LONGEST,
        required=False,
        help_text=_("Empty: until somebody resumes it."),
    )

    @property
    def said(self) -> dict[str, Any]:
        """As lifecycle.pause and pause_task take it."""
        minutes = self.cleaned_data["minutes"]
        until = datetime.now(UTC) + timedelta(minutes=minutes) if minutes else None
        return {"because": self.cleaned_data["because"], "until": until}


class PauseTaskForm(PauseForm):
    task = forms.CharField(
        label=_("Task"),
        max_length=255,
        widget=forms.TextInput(attrs={"size": 60, "list": "jobs-tasks"}),
        help_text=_("Its whole name; its jobs are not started in any queue."),
    )
    field_order = ("task", "because", "minutes")


def page(
    model_admin: ModelAdmin[Any], request: HttpRequest, form: PauseForm, names: list[str]
) -> HttpResponse:
    """Asks, before anything is paused."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": _("Pause"),
        "opts": model_admin.opts,
        "form": form,
        "names": names,
        # Offered as one types; any other may be typed.
        "tasks": sorted(registered()),
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "media": model_admin.media,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/jobs/pause.html", context)


def told(by: str, because: str, until: datetime | None) -> str:
    """Who has paused it, why, and until when."""
    parts = [gettext("by %(name)s") % {"name": by} if by else "", because]
    if until is not None:
        when = date_format(localtime(until), "DATETIME_FORMAT")
        parts.append(gettext("until %(moment)s") % {"moment": when})
    return " · ".join(part for part in parts if part)
