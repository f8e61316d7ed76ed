"""What the list of jobs is asked for: a condition, and by which index what fulfils it is found.

What has an index of its own, or a small table, is found by that: what is queued, running, failed or
cancelled, of a schedule or a workflow, and errors. Everything else is looked for from the newest
job back, by its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils.dateparse import parse_datetime

from jobs import conf, ids
from jobs.models import Attempt, Job, JobQuerySet, State
from jobs.models.attempt import FAILURES

from .. import known

# Names in the address, and what may stand there.
SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
# What a list does not show, and may be large.
HEAVY = ("arguments", "result", "metadata")
# So a search is forced to look into errors, where a task is named alike.
ERROR = "error:"


class Source(NamedTuple):
    """Rows in an order that an index has; `prefix` leads from a row to its job."""

    rows: QuerySet[Any]
    order: tuple[str, ...]
    prefix: str
    # What is still to be seen of each row; None: nothing.
    matching: Q | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Empty, or None: whatever it is."""

    state: str = ""
    queue: str = ""
    # One of these.
    tasks: tuple[str, ...] = ()
    worker: str = ""
    error: str = ""
    # Failures of one kind: their fingerprint.
    kind: str = ""
    # In an error's class or message.
    words: str = ""
    schedule: int | None = None
    workflow: UUID | None = None
    id: UUID | None = None
    # When it was enqueued.
    since: datetime | None = None
    within: str = ""
    until: datetime | None = None

    @classmethod
    def of(cls, said: Mapping[str, str], query: str, *, may_see_errors: bool) -> Asked:
        """As the address says it; IncorrectLookupParameters for what cannot be meant."""
        if "\0" in query or any("\0" in value for value in said.values()):
            # PostgreSQL has no such text.
            raise IncorrectLookupParameters
        try:
            asked = cls(
                state=State(said["state"]).value if said.get("state") else "",
                queue=said.get("queue", ""),
                tasks=(said["task"],) if said.get("task") else (),
                worker=said.get("worker", ""),
                error=said.get("error", "") if may_see_errors else "",
                kind=said.get("kind", ""),
                schedule=_key(said["schedule"]) if said.get("schedule") else None,
                workflow=UUID(said["workflow"]) if said.get("workflow") else None,
                since=_moment(said.get("since")),
                within=said.get("within", ""),
                until=_moment(said.get("until")),
            )
            if asked.within and asked.within not in SPANS:
                raise ValueError(asked.within)
        except (ValueError, OverflowError) as error:
            raise IncorrectLookupParameters(error) from None
        return asked._searching(query.strip(), may_see_errors=may_see_errors)

    def _searching(self, term: str, *, may_see_errors: bool) -> Asked:
        """A job, or a workflow, by its id; else tasks by a part of their names; else errors."""
        if not term:
            return self
        try:
            id_ = UUID(term)
        except ValueError:
            pass
        else:
            is_job = Job.objects.filter(pk=id_).exists()
            return replace(self, id=id_) if is_job else replace(self, workflow=id_)
        if term.startswith(ERROR) and may_see_errors:
            return replace(self, words=term.removeprefix(ERROR).strip())
        if named := tuple(name for name in known.tasks() if term.lower() in name.lower()):
            return replace(self, tasks=named)
        # A task that is gone is known by its whole name only.
        if not may_see_errors or ("." in term and " " not in term and not _is_error(term)):
            return replace(self, tasks=(term,))
        return replace(self, words=term)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Those of the parameters in an address."""
        return (
            "state", "queue", "task", "worker", "error", "kind", "schedule", "workflow", "since",
            "within", "until",
        )  # fmt: skip

    @property
    def is_everything(self) -> bool:
        return self == Asked()

    def source(self, jobs: JobQuerySet) -> Source:
        """Where to look, of those."""
        jobs = jobs.defer(*HEAVY)
        if self.id is not None:
            return Source(jobs.filter(pk=self.id), ("-id",), "", self._without("id"))
        if self.error or self.kind or self.words:
            return self._by_errors(jobs)
        if self.schedule is not None:
            return self._by_key(jobs.filter(schedule_id=self.schedule), "schedule")
        if self.workflow is not None:
            return self._by_key(jobs.filter(workflow_id=self.workflow), "workflow")
        match self.state:
            case State.WAITING:
                by_queue = ("queue_name", "id")
                return Source(jobs.waiting(), by_queue, "", self._without("state"))
            case State.QUEUED:
                in_line = ("queue_name", "-priority", "run_at", "id")
                return Source(jobs.queued(), in_line, "", self._without("state"))
            case State.FAILED:
                newest = ("-failed_at", "-id")
                return Source(jobs.failed(), newest, "", self._without("state"))
            case State.CANCELLED:
                newest = ("-cancelled_at", "-id")
                return Source(jobs.cancelled(), newest, "", self._without("state"))
            case State.RUNNING:
                return self._by_key(jobs.running(), "state")
        return self._by_key(jobs)

    def _by_errors(self, jobs: JobQuerySet) -> Source:
        """The newest first, each job by its last."""
        attempts = (
            Attempt.objects.using(jobs.db)
            .filter(outcome__in=FAILURES)
            .select_related("job")
            .defer("traceback", *(f"job__{name}" for name in HEAVY))
        )
        if self.kind:
            attempts = attempts.filter(fingerprint=self.kind)
        if self.error:
            attempts = attempts.filter(exception_class_path=self.error)
        if jobs.query.where:
            # What a site's own admin leaves of them.
            attempts = attempts.filter(job__in=jobs.order_by())
        rest = replace(self, error="", kind="")._seen_from("job__")
        return Source(attempts, ("-id",), "job__", _is_last() & rest)

    def _by_key(self, jobs: QuerySet[Any], *found: str) -> Source:
        """In the key's order, which is that in which they were enqueued."""
        if self.since is not None:
            jobs = jobs.filter(id__gte=ids.first_at(self.since))
        if self.within:
            jobs = jobs.filter(id__gte=ids.first_of(SPANS[self.within]))
        if self.until is not None:
            jobs = jobs.filter(id__lt=ids.first_at(self.until))
        return Source(jobs, ("-id",), "", self._without("since", "within", "until", *found))

    def _without(self, *names: str) -> Q | None:
        """What is left to see when these are seen to."""
        fresh = Asked()
        rest = replace(self, **{name: getattr(fresh, name) for name in names})
        return None if rest.is_everything else rest._seen_from("")

    @property
    def condition(self) -> Q:
        """All of it, of a job."""
        return self._seen_from("")

    def _seen_from(self, prefix: str) -> Q:
        wanted: dict[str, Any] = {
            "pk": self.id,
            "state": self.state,
            "queue_name": self.queue,
            "task__in": self.tasks,
            "schedule_id": self.schedule,
            "workflow_id": self.workflow,
            "enqueued_at__gte": self.since,
            "enqueued_at__lt": self.until,
            "enqueued_at__gt": Now() - SPANS[self.within] if self.within else None,
        }
        found = Q(
            **{
                f"{prefix}{name}": value
                for name, value in wanted.items()
                if value not in (None, "", ())
            }
        )
        if self.worker:
            # Its runners are called after it.
            found &= Q(**{f"{prefix}worker": self.worker}) | Q(
                **{f"{prefix}worker__startswith": f"{self.worker}/"}
            )
        if self.words and prefix:
            found &= _says(self.words)
        elif self.error or self.kind or self.words:
            found &= Q(pk__in=self._failures())
        return found

    def _failures(self) -> QuerySet[Any]:
        attempts = Attempt.objects.using(conf.settings().database).filter(
            _is_last(), outcome__in=FAILURES
        )
        if self.kind:
            attempts = attempts.filter(fingerprint=self.kind)
        if self.error:
            attempts = attempts.filter(exception_class_path=self.error)
        if self.words:
            attempts = attempts.filter(_says(self.words))
        return attempts.values("job_id")


def _says(words: str) -> Q:
    return Q(message__icontains=words) | Q(exception_class_path__icontains=words)


def _is_last() -> Q:
    """Of the attempts with which a job has failed, the last: each job is found once."""
    later = Attempt.objects.filter(
        job_id=OuterRef("job_id"), attempt__gt=OuterRef("attempt"), outcome__in=FAILURES
    )
    return Q(~Exists(later))


def _is_error(term: str) -> bool:
    """Whether it may well be the class of one."""
    return term.endswith(("Error", "Exception", "Timeout")) or term.rpartition(".")[2][:1].isupper()


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    found = parse_datetime(text)
    if found is None or found.tzinfo is None:
        raise ValueError(text)
    # Not in its own zone: PostgreSQL knows fewer of them.
    return found.astimezone(UTC)


def _key(text: str) -> int:
    if (found := int(text)) >= 2**63:
        raise ValueError(text)
    return found
