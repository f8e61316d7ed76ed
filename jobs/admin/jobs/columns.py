"""What the list shows of each job, and its page beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jobs.models import Attempt, Job, Progress, State
from jobs.models.states import REASONS

from ..base import moment, to_the_second
from ..words import breakable, briefly


class JobColumns:
    @admin.display(description=_("task"))
    def shown_task(self, job: Job[Any]) -> SafeString:
        # An id's end is random; the beginning is the same for jobs of the same minute.
        return format_html(
            '{} <span class="jobs-id jobs-small">…{}</span>', breakable(job.task), str(job.pk)[-12:]
        )

    @admin.display(description=_("state"))
    def shown_state(self, job: Job[Any]) -> SafeString:
        return format_html(
            '<span class="jobs-state jobs-{}">{}</span>', job.state, job.get_state_display()
        )

    @admin.display(description=_("note"))
    def shown_note(self, job: Job[Any]) -> SafeString | str:
        """How far it is, when it is due, what went wrong: whatever one asks of that state."""
        error: Attempt | None = getattr(job, "shown_error", None)
        why = "" if error is None else brief_error(error)
        match job.state:
            case State.QUEUED | State.WAITING:
                return _joined(_due(job), _attempt(job), why)
            case State.RUNNING:
                progress = shown_progress(job, with_message=getattr(job, "shows_payload", False))
                return _joined(_run_time(job), _attempt(job), str(progress or ""))
            case State.SUCCEEDED:
                return _joined(_run_time(job), _attempt(job))
            case State.CANCELLED:
                return _joined(shown_reason(job), job.cancelled_by, job.cancelled_because)
        return _joined(why or shown_reason(job), _attempt(job))

    shown_enqueued_at = moment("enqueued_at", _("enqueued at"))
    shown_failed_at = moment("failed_at", _("failed at"))
    shown_cancelled_at = moment("cancelled_at", _("cancelled at"))
    shown_started_at = moment("last_attempted_at", _("started at"))

    @admin.display(description=_("due"))
    def shown_due(self, job: Job[Any]) -> SafeString | str:
        return "–" if is_put_off(job) else to_the_second(job.run_at)

    @admin.display(description=_("priority"))
    def shown_priority(self, job: Job[Any]) -> str:
        return str(job.priority or "–")


# Which columns say most, by the state that is looked at.
COLUMNS = {
    State.QUEUED: ("shown_due", "shown_priority"),
    State.RUNNING: ("worker", "shown_started_at"),
    State.FAILED: ("shown_failed_at",),
    State.CANCELLED: ("shown_cancelled_at",),
}


def shown_reason(job: Job[Any]) -> str:
    return str(REASONS.get(job.reason or "", job.reason or "–"))


def brief_error(attempt: Attempt) -> str:
    """Its class's own name, and how its message begins."""
    name = attempt.exception_class_path.rpartition(".")[2]
    message = attempt.message.strip().partition("\n")[0]
    return Truncator(f"{name}: {message}" if message else name).chars(90)


def is_put_off(job: Job[Any]) -> bool:
    """Due no sooner than any pause is long: its task is paused."""
    return bool((job.run_at - datetime.now(UTC)).days > 10_000)


def shown_progress(job: Job[Any], *, with_message: bool) -> Progress | None:
    """What a task says of it is payload."""
    progress = job.progress
    if progress is None or with_message:
        return progress
    return replace(progress, message="")


def _due(job: Job[Any]) -> str:
    if is_put_off(job):
        return gettext("its task is paused")
    seconds = (job.run_at - datetime.now(UTC)).total_seconds()
    if seconds > 1:
        return gettext("due in %(time)s") % {"time": briefly(seconds)}
    if seconds < -5:
        return gettext("overdue by %(time)s") % {"time": briefly(-seconds)}
    return ""


def _attempt(job: Job[Any]) -> str:
    """Unless it is the first."""
    if job.attempt < 2:
        return ""
    return gettext("attempt %(number)d") % {"number": job.attempt}


def _run_time(job: Job[Any]) -> str:
    if job.last_attempted_at is None:
        return ""
    end = job.finished_at or datetime.now(UTC)
    return briefly(max(0.0, (end - job.last_attempted_at).total_seconds()))


def _joined(*parts: str | None) -> str:
    return " · ".join(part for part in parts if part and part != "–")
