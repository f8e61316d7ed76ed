"""What can be done to many jobs: to which, with what to be said, and how it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.db import transaction
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from jobs import conf, lifecycle
from jobs.models import FINAL, Job, State

from .. import known
from .again import changed_call, changed_names


class RetryForm(forms.Form):
    delay = forms.IntegerField(
        label=_("Delay in minutes"), min_value=0, max_value=525_600, initial=0, required=False
    )


class CancelForm(forms.Form):
    because = forms.CharField(
        label=_("Reason"),
        max_length=1_000,
        required=False,
        widget=forms.TextInput(attrs={"size": 60}),
    )


class MoveForm(forms.Form):
    queue_name = forms.ChoiceField(
        label=_("Queue"),
        help_text=_("Those that settings, tasks or workers name, or that have had a job."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = conf.settings().queues or known.queues()
        field = self.fields["queue_name"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(name, name) for name in names]


class PriorityForm(forms.Form):
    priority = forms.IntegerField(
        label=_("Priority"),
        min_value=-100,
        max_value=100,
        initial=0,
        help_text=_("−100 to 100; higher comes first."),
    )


@dataclass(frozen=True, slots=True)
class Verb:
    name: str
    title: Any
    # What a page says of those to which it is done.
    told: Any
    button: Any
    # "%(count)s job is …", and more than one.
    done: Any
    # Of the admin's class: has_…_permission.
    permission: str
    states: tuple[State, ...]
    do: Callable[[list[UUID], str, dict[str, Any]], list[UUID]]
    form: type[forms.Form] = forms.Form
    # The columns of the row that it sets to what was said: those that have it are done.
    sets: tuple[str, ...] = ()
    is_destructive: bool = False
    # Whether it makes jobs like these, whose arguments may be changed.
    is_again: bool = False


def _retry(ids: list[UUID], by: str, said: dict[str, Any]) -> list[UUID]:
    delay = timedelta(minutes=said.get("delay") or 0)
    return lifecycle.retry_these(ids, delay=delay, using=_alias())


def _again(ids: list[UUID], by: str, said: dict[str, Any]) -> list[UUID]:
    """Those whose arguments cannot be changed so are left out."""
    done = []
    with transaction.atomic(using=_alias(), savepoint=False):
        for job in Job.objects.using(_alias()).filter(pk__in=ids, state__in=FINAL).order_by("pk"):
            if (call := changed_call(job, said)) is not None:
                lifecycle.again(job, by=by, arguments=call, changed=changed_names(said))
                done.append(job.pk)
    return done


def _cancel(ids: list[UUID], by: str, said: dict[str, Any]) -> list[UUID]:
    return lifecycle.cancel_these(ids, by=by, because=said["because"], using=_alias())


def _move(ids: list[UUID], by: str, said: dict[str, Any]) -> list[UUID]:
    return lifecycle.move(ids, queue_name=said["queue_name"], using=_alias())


def _prioritise(ids: list[UUID], by: str, said: dict[str, Any]) -> list[UUID]:
    return lifecycle.move(ids, priority=said["priority"], using=_alias())


def _delete(ids: list[UUID], by: str, said: dict[str, Any]) -> list[UUID]:
    """A site's foreign key to one of them refuses the whole part."""
    return lifecycle.delete(ids, using=_alias())


def _alias() -> str:
    return conf.settings().database


VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "retry",
            _("Retry jobs"),
            _("will be queued again"),
            _("Retry"),
            ngettext_lazy(
                "%(count)s job is queued again.", "%(count)s jobs are queued again.", "count"
            ),
            "retry",
            (State.FAILED, State.CANCELLED),
            _retry,
            RetryForm,
        ),
        Verb(
            "again",
            _("Run jobs again"),
            _("will be run again, as new jobs"),
            _("Run again"),
            ngettext_lazy(
                "%(count)s job is run again, as a new one.",
                "%(count)s jobs are run again, as new ones.",
                "count",
            ),
            "run",
            tuple(FINAL),
            _again,
            is_again=True,
        ),
        Verb(
            "cancel",
            _("Cancel jobs"),
            _("will be cancelled; those that run are told to stop"),
            _("Cancel jobs"),
            ngettext_lazy(
                "%(count)s job is cancelled, or told to stop if it was running.",
                "%(count)s jobs are cancelled; those that were running are told to stop.",
                "count",
            ),
            "cancel",
            (State.WAITING, State.QUEUED, State.RUNNING),
            _cancel,
            CancelForm,
            is_destructive=True,
        ),
        Verb(
            "move",
            _("Move jobs to another queue"),
            _("will be moved"),
            _("Move"),
            ngettext_lazy(
                "%(count)s job is moved to %(queue_name)s.",
                "%(count)s jobs are moved to %(queue_name)s.",
                "count",
            ),
            "move",
            (State.WAITING, State.QUEUED),
            _move,
            MoveForm,
            ("queue_name",),
        ),
        Verb(
            "prioritise",
            _("Change the priority of jobs"),
            _("will have that priority"),
            _("Set the priority"),
            ngettext_lazy(
                "%(count)s job has the priority %(priority)s.",
                "%(count)s jobs have the priority %(priority)s.",
                "count",
            ),
            "move",
            (State.WAITING, State.QUEUED),
            _prioritise,
            PriorityForm,
            ("priority",),
        ),
        Verb(
            "remove",
            _("Delete jobs"),
            _("will be deleted, with their attempts and results"),
            _("Delete jobs"),
            ngettext_lazy("%(count)s job is deleted.", "%(count)s jobs are deleted.", "count"),
            "remove",
            tuple(FINAL),
            _delete,
            is_destructive=True,
        ),
    )
}
