"""The form of a schedule: refuses at once what a beat would choke on, and shows what it means."""

from __future__ import annotations

import inspect
import json
import re
import zoneinfo
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings as django_settings
from django.db import connections
from django.forms.fields import InvalidJSONInput
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import format_lazy, get_text_list
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jobs import beat, codec, conf, cron
from jobs.errors import InvalidSchedule, JobsError, NotStorable
from jobs.models import Schedule
from jobs.models.references import load
from jobs.models.schedule import OPTIONS
from jobs.tasks import registered, resolve

from ..payload import shape, with_kept, without_sensitive

# So many next runs are shown.
PREVIEWED = 10
_RULE = {
    Schedule.Kind.CRON: ("line", "timezone", "days"),
    Schedule.Kind.INTERVAL: ("interval", "anchor"),
    Schedule.Kind.AT: ("anchor",),
    Schedule.Kind.SOLAR: ("event", "latitude", "longitude"),
}
_POLICY = (
    "starts_at", "ends_at", "catch_up", "catch_up_limit", "grace", "overlap", "jitter",
    "max_runs", "tick_argument", "description",
)  # fmt: skip
# What each kind cannot be without.
_NEEDED = {
    Schedule.Kind.CRON: ("line",),
    Schedule.Kind.INTERVAL: ("interval",),
    Schedule.Kind.AT: ("anchor",),
    Schedule.Kind.SOLAR: ("event", "latitude", "longitude"),
}


_LINES = forms.Textarea(attrs={"rows": 2, "cols": 60})


class _Json(forms.JSONField):
    """Empty where there is nothing, not "null"."""

    widget = _LINES

    def to_python(self, value: Any) -> Any:
        try:
            found = super().to_python(value)
            # Nothing that PostgreSQL, or whoever reads it, would choke on.
            codec.encode(found, str(self.label))
            return found
        except (NotStorable, RecursionError, ValueError) as error:
            raise forms.ValidationError(str(error)) from error

    def bound_data(self, data: Any, initial: Any) -> Any:
        # As it was typed: it may be nothing that can be read.
        return initial if self.disabled or data is None else InvalidJSONInput(data)

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    """Of those that nobody declares in code."""

    task = forms.ChoiceField(label=_("Task"))
    args = _Json(
        label=_("Positional arguments"),
        required=False,
        help_text=_("A JSON list: [1, true]"),
    )
    kwargs = _Json(
        label=_("Keyword arguments"),
        required=False,
        help_text=_('A JSON object: {"name": "x"}'),
    )
    timezone = forms.ChoiceField(label=_("Time zone"), required=False)
    event = forms.ChoiceField(
        label=_("Event"),
        required=False,
        choices=[("", "–"), *cron.EVENTS_IN_WORDS.items()],
    )

    class Meta:
        model = Schedule
        fields = (
            "name", "description", "enabled", "task", "args", "kwargs", "kind", "line",
            "timezone", "days", "interval", "anchor", "event", "latitude", "longitude",
            "starts_at", "ends_at", "max_runs", "catch_up", "catch_up_limit", "grace", "overlap",
            "jitter", "tick_argument", *OPTIONS,
        )  # fmt: skip
        widgets = {"description": _LINES}
        field_classes = {"metadata": _Json}
        help_texts = {
            "line": _("Minute, hour, day of month, month, day of week; seconds last, if at all."),
            "days": _("Where both are restricted. Celery wants both to fit, other crons either."),
            "interval": _("[days] hours:minutes:seconds of elapsed time."),
            "anchor": _("Of an interval a tick to be in phase with; of “once” the moment."),
            "catch_up": _("After a rest in which no beat ran."),
            "catch_up_limit": _("With “a run for each”: the newest so many."),
            "grace": _("A tick that is later is skipped. Empty: however late."),
            "jitter": _("Each run is put off at random by up to so much."),
            "tick_argument": _("The task gets its tick under this name."),
            "queue_name": _("Empty: the task's own; so with all below."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "task" not in self.fields:
            # Somebody who may only look, or a schedule that code declares.
            return
        for field in self.fields.values():
            if isinstance(field.widget, forms.MultiWidget):
                for part, told in zip(field.widget.widgets, (_("date"), _("time")), strict=False):
                    part.attrs["aria-label"] = format_lazy("{}: {}", field.label, told)
        self.fields["task"].choices = _choices(  # type: ignore[attr-defined]
            # The admin's own is nobody's to schedule.
            {name: name for name in registered() if not name.startswith("jobs.")},
            self.instance.task,
        )
        site = gettext("the site's: %(zone)s") % {"zone": django_settings.TIME_ZONE}
        zones = {"": site} | {name: name for name in sorted(zoneinfo.available_timezones())}
        self.fields["timezone"].choices = _choices(  # type: ignore[attr-defined]
            zones, self.instance.timezone
        )
        self._kept = shape(self.instance.arguments if self.instance.pk else None)
        if not self.instance.pk:
            self.fields["kind"].initial = Schedule.Kind.CRON
        self._shown = without_sensitive(self.instance.task, self._kept)
        # Before anything is changed.
        self._task_before = self.instance.task
        for name, value in self._shown.items():
            self.fields[name].initial = value or None

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        for name, empty, kind in (("args", [], list), ("kwargs", {}, dict)):
            value = empty if given.get(name) is None else given[name]
            if name not in given:
                continue
            if not isinstance(value, kind):
                self.add_error(name, self.fields[name].help_text)
                continue
            is_same = given.get("task") == self._task_before
            kept, shown = self._kept[name], self._shown[name]
            try:
                # What was hidden is not to be seen through another task.
                given[name] = with_kept(value, shown, kept if is_same else type(kept)())
            except ValueError as error:
                self.add_error(name, str(error))
        if self.errors or "kind" not in given:
            return given
        try:
            plan = self.plan(given)
            self._refuse_the_past(plan)
            given["arguments"] = self.encoded(given["task"], plan)
        except (JobsError, ImportError) as error:
            self.add_error(self._culprit(given, str(error)), str(error))
        return given

    def encoded(self, name: str, plan: cron.Plan) -> dict[str, Any]:
        """The arguments as a row keeps them. What was kept under a tag (a date, say) is shown and
        typed, and stays, as it is kept."""
        made = beat.encoded(resolve(name), plan)
        for typed, encoded in ((list(plan.args), made["args"]), (plan.kwargs, made["kwargs"])):
            places: Any = range(len(typed)) if isinstance(typed, list) else typed
            for place in places:
                if codec.TAG in json.dumps(typed[place]):
                    self._read(typed[place])
                    encoded[place] = typed[place]
        if plan.metadata is not None and codec.TAG in json.dumps(plan.metadata):
            raise InvalidSchedule(f"metadata is read as JSON; {codec.TAG!r} means nothing there")
        return made

    def _read(self, value: Any) -> None:
        """As a worker will."""
        try:
            codec.decode(value, load)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise InvalidSchedule(f"an argument cannot be read: {told}") from error

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        rows = Schedule.objects.using(conf.settings().database).exclude(pk=self.instance.pk)
        if rows.filter(name=name).exists():
            raise forms.ValidationError(_("There is a schedule of that name already."))
        return name

    def plan(self, given: dict[str, Any]) -> cron.Plan:
        """What the fields come to; InvalidSchedule where they come to nothing."""
        missing = [name for name in _NEEDED[given["kind"]] if given.get(name) in (None, "")]
        if missing:
            labels = [str(self.fields[name].label) for name in missing]
            names = get_text_list(labels, gettext("and"))
            raise InvalidSchedule(gettext("Needed for this kind: %(names)s") % {"names": names})
        columns = {name: given.get(name) for name in _RULE[given["kind"]]}
        if given["kind"] == Schedule.Kind.INTERVAL and columns["anchor"] is None:
            columns["anchor"] = given["anchor"] = cron.EPOCH
        rule = Schedule(kind=given["kind"], **columns).rule
        names_of_options = (*_POLICY, *OPTIONS, "args", "kwargs")
        said = {name: given.get(name) for name in names_of_options}
        return cron.as_plan(rule, **{name: one for name, one in said.items() if one is not None})

    def _refuse_the_past(self, plan: cron.Plan) -> None:
        if plan.ends_at and "ends_at" in self.changed_data and plan.ends_at <= now():
            self.add_error("ends_at", gettext("The moment lies in the past."))
        is_new = not self.instance.pk or {"kind", "anchor"} & set(self.changed_data)
        if is_new and isinstance(plan.rule, cron.At) and plan.rule.moment <= now():
            self.add_error("anchor", gettext("The moment lies in the past."))

    def _culprit(self, given: Mapping[str, Any], told: str) -> str | None:
        """The field that a message is about: one that it names, or its kind's first."""
        named = [name for name in self.fields if re.search(rf"\b{name} is ", told)]
        if named:
            return named[0]
        if "does not fit" in told or "argument" in told:
            return "args"
        return _NEEDED[given["kind"]][0] if "task" not in told else "task"

    def save(self, commit: bool = True) -> Any:
        self.instance.arguments = self.cleaned_data["arguments"]
        if not self.instance.pk:
            self.instance.source = Schedule.Source.HAND
        return super().save(commit)


class SwitchForm(forms.ModelForm):  # type: ignore[type-arg]
    """Of a schedule that code or settings declare: whether it is enabled is the operator's."""

    class Meta:
        model = Schedule
        fields = ("enabled",)


def preview(form: ScheduleForm) -> dict[str, Any]:
    """What the form means so far: the rule in words, its next runs, and the task's signature."""
    form.full_clean()
    given = form.cleaned_data if hasattr(form, "cleaned_data") else {}
    told: dict[str, Any] = {"words": "", "runs": [], "error": "", "signature": "", "about": ""}
    if task := given.get("task"):
        told["signature"], told["about"] = signature(task)
    # What is not typed yet is no mistake yet.
    typed = [name for name in form.errors if name != "__all__" and _is_typed(form, name)]
    told["error"] = " ".join(f"{form.fields[name].label}: {form.errors[name][0]}" for name in typed)
    if "kind" not in given:
        return told
    try:
        plan = form.plan(given)
    except JobsError as error:
        if all(_is_typed(form, name) for name in _NEEDED[given["kind"]]):
            told["error"] = told["error"] or str(error)
        return told
    if task:
        try:
            form.encoded(task, plan)
        except (JobsError, ImportError) as error:
            told["error"] = told["error"] or str(error)
    told["words"] = cron.in_words(plan.rule)
    told["runs"] = _next_runs(plan, given.get("timezone") or django_settings.TIME_ZONE)
    return told


def _is_typed(form: ScheduleForm, name: str) -> bool:
    field = form.fields[name]
    value = field.widget.value_from_datadict(form.data, form.files, form.add_prefix(name))
    parts = value if isinstance(value, list) else [value]
    return any(part not in (None, "") for part in parts)


def signature(name: str) -> tuple[str, str]:
    """(how the task is called, what it says of itself)"""
    try:
        task = resolve(name)
    except (JobsError, ImportError) as error:
        return str(error), ""
    about = inspect.getdoc(task.func) or ""
    return f"{task.func.__name__}{task.signature}", about.partition("\n")[0]


def _next_runs(plan: cron.Plan, zone: str) -> list[str]:
    tz, moment = cron.zone(zone), now()
    found: list[str] = []
    while len(found) < min(PREVIEWED, plan.max_runs or PREVIEWED):
        tick = cron.first_after(plan.rule, plan.policy, moment, django_settings.TIME_ZONE)
        if tick is None:
            break
        local = tick.astimezone(tz)
        found.append(f"{date_format(local, 'D')} {local:%Y-%m-%d %H:%M:%S %Z}")
        moment = tick
    return found


def _choices(names: Mapping[str, str], own: str) -> list[tuple[str, Any]]:
    """One that is no more stays to be seen."""
    gone = {own: gettext("%(name)s (unknown here)") % {"name": own}} if own not in names else {}
    return list((dict(names) | (gone if own else {})).items())


def now() -> datetime:
    """The database's time."""
    with connections[conf.settings().database].cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        found: datetime = cursor.fetchone()[0]
    return found.astimezone(timezone.get_default_timezone())
