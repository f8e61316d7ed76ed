"""A job's life, in the order in which it was lived: by whom it was enqueued, what it waited for,
each attempt, and how it ended or what is still to come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jobs import conf, lifecycle
from jobs.models import Attempt, AttemptLog, Job, Schedule, State
from jobs.models.attempt import FAILURES

from ..places import Places
from ..words import briefly
from . import logs, tracebacks
from .columns import is_put_off, shown_reason

# So many attempts are shown without being asked for.
_LATE = 3
# Between being enqueued and due: less is the same moment.
_SOON = timedelta(seconds=1)


@dataclass(slots=True)
class Event:
    # None: nobody knows, or it is yet to come.
    at: datetime | None
    words: Any
    # Of a state or an outcome, for its colour.
    kind: str = ""
    # Said beside it.
    notes: list[Any] = field(default_factory=list)
    # What went wrong, for whom may see it.
    error: str = ""
    traceback: SafeString | str = ""
    # Where others of its kind are.
    kind_url: str = ""
    # What the attempt has logged, for whom may see it.
    log: logs.Shown | None = None
    # Whether its traceback is shown without being asked for.
    is_open: bool = False


class Told(NamedTuple):
    """A life in two parts, so that what counts is not far down; and what went wrong last."""

    early: list[Event]
    # How many attempts are in it.
    early_count: int
    late: list[Event]
    last_error: str


def of(job: Job[Any], places: Places, *, with_payload: bool) -> Told:
    """From its beginning on. Three queries: its attempts, what they logged, and its schedule if it
    has one."""
    attempts = list(job.history_of_attempts)
    logged = logs.of(job) if with_payload else {}
    # One more is not worth a fold.
    split = len(attempts) - _LATE if len(attempts) > _LATE + 1 else 0
    early, late = attempts[:split], attempts[split:]
    first = [_enqueued(job, places), *_planned(job)]
    since = max(job.enqueued_at, job.run_at) if job.attempt == 1 else job.enqueued_at
    told = list(_attempts(early, since, job, places, logged, with_payload=with_payload))
    if early:
        since = early[-1].finished_at
    rest = [
        *_attempts(late, since, job, places, logged, with_payload=with_payload),
        *_last(job, attempts, since, logged),
        *_cancelling(job, attempts),
        *_present(job),
    ]
    # It may have been told to stop before it ended.
    rest.sort(key=lambda event: (event.at is None, event.at or job.enqueued_at))
    errors = [event.error for event in (*told, *rest) if event.error]
    last_error = errors[-1] if errors and job.state != State.SUCCEEDED else ""
    if early:
        return Told([*first, *told], len(early), rest, last_error)
    return Told([], 0, [*first, *rest], last_error)


def _named(job: Job[Any], key: str) -> UUID | None:
    """A job that its metadata names: anybody may have written that."""
    named = job.metadata.get(key) if isinstance(job.metadata, dict) else None
    try:
        return UUID(str(named)) if named else None
    except ValueError:
        return None


def _enqueued(job: Job[Any], places: Places) -> Event:
    event = Event(job.enqueued_at, _("enqueued"), "queued")
    metadata = job.metadata if isinstance(job.metadata, dict) else {}
    if job.schedule_id is not None:
        event.notes.append(_schedule(job, places))
    if isinstance(by := metadata.get("enqueued_by"), str) and by:
        event.notes.append(gettext("by %(name)s") % {"name": by})
    for key, words in ((lifecycle.AGAIN_OF, _("once more:")), (lifecycle.FOLLOWS, _("after"))):
        if other := _named(job, key):
            url = places.of("jobs_job_change", other)
            event.notes.append(
                format_html('{} <a href="{}" class="jobs-id">{}</a>', words, url, other)
            )
    if isinstance(changed := metadata.get(lifecycle.CHANGED), list) and changed:
        names = ", ".join(str(name) for name in changed)
        event.notes.append(gettext("with another %(names)s") % {"names": names})
    return event


def _schedule(job: Job[Any], places: Places) -> Any:
    found = Schedule.objects.using(conf.settings().database).filter(pk=job.schedule_id).first()
    if found is None:
        return gettext("by a schedule that is gone")
    url = places.of("jobs_schedule_change", found.pk)
    return format_html('{} <a href="{}">{}</a>', _("by the schedule"), url, found.name)


def _planned(job: Job[Any]) -> Iterator[Event]:
    """For a later time; a retry has moved that on."""
    if not job.attempt and not is_put_off(job) and job.run_at - job.enqueued_at > _SOON:
        if job.state == State.QUEUED and job.run_at > datetime.now(UTC):
            return
        yield Event(job.run_at, _("due"))


def _attempts(
    attempts: list[Attempt],
    since: datetime,
    job: Job[Any],
    places: Places,
    logged: Mapping[int, AttemptLog],
    *,
    with_payload: bool,
) -> Iterator[Event]:
    for attempt in attempts:
        if attempt.started_at is not None:
            yield _started(attempt.attempt, attempt.started_at, attempt.worker, since)
        ended = _ended(attempt, with_payload=with_payload)
        if attempt.fingerprint and attempt.outcome in FAILURES:
            ended.kind_url = places.of("jobs_job_kind", attempt.fingerprint, task=job.task)
        ended.log = logs.shown(logged.get(attempt.attempt))
        yield ended
        since = attempt.finished_at


def _last(
    job: Job[Any], attempts: list[Attempt], since: datetime, logged: Mapping[int, AttemptLog]
) -> Iterator[Event]:
    """An attempt has no row of its own while it runs, nor if it succeeded."""
    if job.state not in (State.RUNNING, State.SUCCEEDED) or job.last_attempted_at is None:
        # What was claimed and given back has not started.
        return
    if any(attempt.attempt == job.attempt for attempt in attempts):
        return
    if attempts:
        since = max(attempts[-1].finished_at, job.run_at)
    started = _started(job.attempt, job.last_attempted_at, job.worker, since)
    started.log = logs.shown(logged.get(job.attempt), is_open=job.state == State.RUNNING)
    yield started
    if job.state == State.SUCCEEDED and job.finished_at is not None:
        took = (job.finished_at - job.last_attempted_at).total_seconds()
        yield Event(job.finished_at, _("succeeded"), "succeeded", [_after(took)])


def _started(number: int, at: datetime, worker: str | None, since: datetime) -> Event:
    event = Event(at, gettext("attempt %(number)d") % {"number": number}, "running")
    if worker:
        event.notes.append(gettext("on %(worker)s") % {"worker": worker})
    waited = (at - since).total_seconds()
    if waited > 0.001:
        event.notes.append(gettext("after waiting for %(time)s") % {"time": briefly(waited)})
    return event


def _ended(attempt: Attempt, *, with_payload: bool) -> Event:
    event = Event(attempt.finished_at, attempt.get_outcome_display(), attempt.outcome)
    if attempt.started_at is not None:
        event.notes.append(_after((attempt.finished_at - attempt.started_at).total_seconds()))
    if with_payload and attempt.exception_class_path:
        name = attempt.exception_class_path.removeprefix("builtins.")
        event.error = f"{name}: {attempt.message}" if attempt.message else name
        event.traceback = tracebacks.shown(attempt.traceback) if attempt.traceback else ""
        event.is_open = attempt.outcome in ("failed", "lost")
    return event


def _after(seconds: float) -> str:
    return gettext("after %(time)s") % {"time": briefly(max(0.0, seconds))}


def _cancelling(job: Job[Any], attempts: list[Attempt]) -> Iterator[Event]:
    by = [gettext("by %(name)s") % {"name": job.cancelled_by}] if job.cancelled_by else []
    because = [job.cancelled_because] if job.cancelled_because else []
    if job.cancel_requested_at is not None:
        yield Event(job.cancel_requested_at, _("told to stop"), "cancelled", [*by, *because])
    if job.cancelled_at is None or any(one.attempt == job.attempt for one in attempts):
        return
    # No attempt tells of it.
    notes = [] if job.cancel_requested_at else [*by, *(because or [shown_reason(job)])]
    yield Event(job.cancelled_at, _("cancelled"), "cancelled", notes)


def _present(job: Job[Any]) -> Iterator[Event]:
    """What is still to come."""
    now = datetime.now(UTC)
    match job.state:
        case State.QUEUED if is_put_off(job):
            yield Event(None, _("waits until its task is resumed"))
        case State.QUEUED if job.run_at > now:
            words = _("next attempt") if job.attempt else _("due")
            left = briefly((job.run_at - now).total_seconds())
            yield Event(job.run_at, words, "", [gettext("in %(time)s") % {"time": left}])
        case State.QUEUED:
            waited = briefly((now - job.run_at).total_seconds())
            yield Event(None, _("waits for a worker"), "", [_for(waited)])
        case State.WAITING:
            yield Event(None, _("waits for other jobs, or for its turn"))
        case State.RUNNING if job.last_attempted_at is not None:
            ran = briefly(max(0.0, (now - job.last_attempted_at).total_seconds()))
            yield Event(None, _("is running"), "running", [_for(ran)])


def _for(time: str) -> str:
    return gettext("for %(time)s") % {"time": time}
