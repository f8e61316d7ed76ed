"""The page on which a queue or a task is paused: why, and for how long."""

from __future__ import annotations

from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin, helpers
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.formats import date_format
from django.utils.text import format_lazy
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from . import known
from .places import Places

# Half a year: what is paused for longer is paused until somebody resumes it.
_LONGEST = 263_000


class PauseForm(forms.Form):
    because = forms.CharField(
        label=_("Reason"),
        max_length=1_000,
        required=False,
        widget=forms.TextInput(attrs={"size": 60}),
        help_text=_("Others read it where they wonder why."),
    )
    minutes = forms.IntegerField(
        label=_("For how many minutes"),
        min_value=1,
        max_value=_LONGEST,
        required=False,
        help_text=_("Empty: until somebody ends it."),
    )

    @property
    def said(self) -> dict[str, Any]:
        """As lifecycle.pause and pause_task take it."""
        minutes = self.cleaned_data["minutes"]
        # On the database's clock.
        until = Now() + timedelta(minutes=minutes) if minutes else None
        return {"because": self.cleaned_data["because"], "until": until}


class PauseTaskForm(PauseForm):
    task = forms.CharField(
        label=_("Task"),
        max_length=255,
        widget=forms.TextInput(attrs={"size": 60, "list": "jobs-tasks"}),
        help_text=_("Its whole name; its jobs are not started in any queue."),
    )
    field_order = ("task", "because", "minutes")

    def clean_task(self) -> str:
        """A name that nobody knows is most likely mistyped, and would pause nothing."""
        name: str = self.cleaned_data["task"]
        names = known.tasks()
        if name in names:
            return name
        told = _("No task is called so, as far as workers and this site know.")
        if near := get_close_matches(name, names, n=1):
            told = format_lazy("{} {}", told, _("Do you mean %(name)s?") % {"name": near[0]})
        raise forms.ValidationError(told)


def page(
    model_admin: ModelAdmin[Any],
    request: HttpRequest,
    form: PauseForm,
    *,
    names: list[str],
    present: list[str],
) -> HttpResponse:
    """Asks, before anything is paused; `names` are queues, and `present` what is said of pauses
    that a new one replaces."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": _("Pause"),
        "opts": model_admin.opts,
        "form": form,
        "names": names,
        # Offered as one types; any other may be typed.
        "tasks": [] if names else known.tasks(),
        "present": present,
        "of_overview": is_of_overview(request),
        "back_url": _back_url(model_admin, request),
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "media": model_admin.media,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/jobs/pause.html", context)


def is_of_overview(request: HttpRequest) -> bool:
    """Whether it was asked for there, and leads back there."""
    return "of_overview" in request.POST or "of_overview" in request.GET


def back(model_admin: ModelAdmin[Any], request: HttpRequest) -> HttpResponse:
    """To the overview, or the list."""
    return HttpResponseRedirect(_back_url(model_admin, request))


def _back_url(model_admin: ModelAdmin[Any], request: HttpRequest) -> str:
    place = Places(request, model_admin.admin_site.name)
    overview = place.of("app_list", model_admin.opts.app_label)
    listed = place.of(f"jobs_{model_admin.opts.model_name}_changelist")
    return overview if is_of_overview(request) and overview else listed


def told(by: str, because: str, until: datetime | None) -> str:
    """Who has paused it, why, and until when."""
    parts = [gettext("by %(name)s") % {"name": by} if by else "", because]
    if until is not None:
        when = date_format(localtime(until), "DATETIME_FORMAT")
        parts.append(gettext("until %(moment)s") % {"moment": when})
    return " · ".join(part for part in parts if part)
