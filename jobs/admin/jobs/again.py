"""The same change of many jobs' arguments, each to be run again with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from django.utils.translation import gettext

from jobs.errors import JobsError
from jobs.models import Job

from .arguments import ArgumentsForm, changed, task_of
from .inputs import NOTHING
from .python import call

# As it is said to a job in the background: what each argument becomes, and which are left out.
_CHANGES, _OMITTED = "changes", "omitted"


class AgainForm(ArgumentsForm):
    """Of jobs of one task: which arguments to change, and into what."""

    @classmethod
    def of(cls, sample: Job[Any], data: Any) -> Self | None:
        """None: nobody knows what the task takes."""
        task = task_of(sample.task)
        try:
            return None if task is None else cls(task, sample.arguments, data, sample=True)
        except Exception:
            # SQL may have put anything there.
            return None

    @property
    def said(self) -> dict[str, Any]:
        """The change, as JSON has it."""
        given = {name: value for name, value in self.changes.items() if value is not NOTHING}
        omitted = [name for name, value in self.changes.items() if value is NOTHING]
        found: dict[str, Any] = {}
        if given:
            found[_CHANGES] = given
        if omitted:
            found[_OMITTED] = omitted
        return found

    def previews(self, jobs: Iterable[Job[Any]]) -> list[tuple[Job[Any], str, str]]:
        """(job, its call, its call with the change), of some of them."""
        found = []
        for job in jobs:
            made = changed_call(job, self.said)
            after = gettext("cannot be changed so, and is left as it is")
            if made is not None:
                after = call(Job(task=job.task, arguments=made))
            found.append((job, call(job), after))
        return found


def changed_call(job: Job[Any], said: dict[str, Any]) -> dict[str, Any] | None:
    """The job's call with the change, checked as `enqueue` checks one; None: it cannot be."""
    changes = dict(said.get(_CHANGES, {})) | dict.fromkeys(said.get(_OMITTED, ()), NOTHING)
    if not changes:
        arguments: dict[str, Any] = job.arguments
        return arguments
    task = task_of(job.task)
    if task is None or not set(changes) <= set(task.signature.parameters):
        return None
    try:
        return changed(task, job.arguments, changes)
    except (JobsError, LookupError, TypeError, ValueError):
        return None


def changed_names(said: dict[str, Any]) -> list[str]:
    return [*said.get(_CHANGES, {}), *said.get(_OMITTED, ())]
