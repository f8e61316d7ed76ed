"""The job: one call of a task, one row.

Finishing a job must stay a heap-only update, so no index here may mention a column that a
success writes (state, worker, claim, last_attempted_at, finished_at, result, progress), and
the claim pays for each index that has an entry for every row. Nothing calls `save()`:
`lifecycle` writes states, each with the state that it expects.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, cast

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from jobs import codec, conf, ids
from jobs.bounds import MOST_ATTEMPTS, MOST_CLAIMS

from .fields import MetadataField, SafeJSONField
from .functions import UUID7, both_or_neither, within_years
from .progress import Progress
from .references import load
from .states import FINAL, State

if TYPE_CHECKING:
    from .attempt import Attempt

R_co = TypeVar("R_co", covariant=True)

if TYPE_CHECKING:

    class _Returning(models.Model, Generic[R_co]):
        class Meta:
            abstract = True

else:

    class _Returning:
        """`Job[R]` is for type checkers only: migrations must not name a typing base."""

        def __class_getitem__(cls, _: object) -> type[models.Model]:
            return models.Model


_STATUS = {
    State.WAITING: "READY",
    State.QUEUED: "READY",
    State.RUNNING: "RUNNING",
    State.SUCCEEDED: "SUCCESSFUL",
    State.FAILED: "FAILED",
    State.CANCELLED: "FAILED",
}


class JobQuerySet(models.QuerySet["Job[Any]"]):
    """Jobs in words. `ready`, `scheduled`, `retrying` and `overdue` use the claim's index."""

    def waiting(self) -> Self:
        """Not yet to be run, whenever that is: for other jobs, or for a slot."""
        return self.filter(waiting_since__isnull=False)

    def queued(self) -> Self:
        """Waiting for a worker, now or later."""
        return self.filter(claimable=True)

    def ready(self) -> Self:
        """Waiting for a worker, and due."""
        return self.queued().filter(run_at__lte=Now())

    def scheduled(self) -> Self:
        """To be run later, first attempts and retries alike."""
        return self.queued().filter(run_at__gt=Now())

    def retrying(self) -> Self:
        """To be run again after a failure."""
        return self.queued().filter(failures__gt=0)

    def overdue(self, by: timedelta) -> Self:
        """Due for longer than `by`, and still not claimed."""
        return self.queued().filter(run_at__lte=Now() - by)

    def running(self) -> Self:
        """Claimed by a runner; found through the claims, which are few."""
        from .claim import Claim

        held = Claim.objects.using(self.db).values_list("ids", flat=True)
        return self.filter(pk__in=[pk for ids_ in held for pk in ids_], state=State.RUNNING)

    def succeeded(self) -> Self:
        """Finished with a result. No index: walk the key, newest first."""
        return self.filter(state=State.SUCCEEDED)

    def failed(self) -> Self:
        return self.filter(failed_at__isnull=False)

    def cancelled(self) -> Self:
        return self.filter(cancelled_at__isnull=False)


class JobManager(models.Manager["Job[Any]"]):
    """Reads the jobs' own database, wherever JOBS says that is, unless told by `using`.

    The words of its querysets are written out: type checkers see none that Django copies.
    """

    def get_queryset(self) -> JobQuerySet:
        return JobQuerySet(self.model, using=self._db or conf.settings().database)

    def using(self, alias: str | None) -> JobQuerySet:
        return self.get_queryset().using(alias)

    def filter(self, *args: Any, **kwargs: Any) -> JobQuerySet:
        return self.get_queryset().filter(*args, **kwargs)

    def waiting(self) -> JobQuerySet:
        return self.get_queryset().waiting()

    def queued(self) -> JobQuerySet:
        return self.get_queryset().queued()

    def ready(self) -> JobQuerySet:
        return self.get_queryset().ready()

    def scheduled(self) -> JobQuerySet:
        return self.get_queryset().scheduled()

    def retrying(self) -> JobQuerySet:
        return self.get_queryset().retrying()

    def overdue(self, by: timedelta) -> JobQuerySet:
        return self.get_queryset().overdue(by)

    def running(self) -> JobQuerySet:
        return self.get_queryset().running()

    def succeeded(self) -> JobQuerySet:
        return self.get_queryset().succeeded()

    def failed(self) -> JobQuerySet:
        return self.get_queryset().failed()

    def cancelled(self) -> JobQuerySet:
        return self.get_queryset().cancelled()


class Job(_Returning[R_co]):
    """One call of a task."""

    id = models.UUIDField(_("id"), primary_key=True, default=ids.uuid7, db_default=UUID7())
    task = models.CharField(_("task"), max_length=255)
    queue_name = models.CharField(_("queue"), max_length=128, db_default="default")
    priority = models.SmallIntegerField(_("priority"), db_default=0)
    state = models.CharField(
        _("state"), max_length=9, choices=State.choices, db_default=State.QUEUED
    )
    # True exactly while queued: the claim's index is partial on it, and not on `state`, so
    # that finishing touches no index.
    claimable = models.BooleanField(_("claimable"), db_default=True)
    arguments = SafeJSONField(
        _("arguments"), db_default=Value({"args": [], "kwargs": {}}, models.JSONField())
    )
    metadata = MetadataField(_("metadata"), null=True)

    enqueued_at = models.DateTimeField(_("enqueued at"), db_default=Now())
    run_at = models.DateTimeField(_("run at"), db_default=Now())
    expires_at = models.DateTimeField(_("expires at"), null=True)
    # Set exactly while waiting, for the index of what waits, as `claimable` is for the claim's.
    waiting_since = models.DateTimeField(_("waiting since"), null=True)
    timeout = models.DurationField(_("time limit"), null=True)

    # Rises with each claim, is never lowered, and may have gaps.
    attempt = models.IntegerField(_("attempt"), db_default=0)
    failures = models.SmallIntegerField(_("failures"), db_default=0)
    # NULL: the task's definition decides when the job has failed.
    max_attempts = models.SmallIntegerField(_("attempts at most"), null=True)
    losses = models.SmallIntegerField(_("losses"), db_default=0)
    max_losses = models.SmallIntegerField(_("losses at most"), db_default=3)

    # The last claim, kept after the finish so that a doubtful commit can be read back.
    # No index and no foreign key: the planner would finish through it.
    claim = models.UUIDField(_("claim"), null=True)
    worker = models.CharField(_("worker"), max_length=128, null=True)
    last_attempted_at = models.DateTimeField(_("last attempted at"), null=True)

    finished_at = models.DateTimeField(_("finished at"), null=True)
    failed_at = models.DateTimeField(_("failed at"), null=True)
    cancelled_at = models.DateTimeField(_("cancelled at"), null=True)
    # A stable code of why a job ended without a result: expired, timeout, lost, cancelled.
    reason = models.CharField(_("reason"), max_length=32, null=True)
    result = SafeJSONField(_("result"), null=True)

    cancel_requested_at = models.DateTimeField(_("cancel requested at"), null=True)
    cancelled_by = models.CharField(_("cancelled by"), max_length=255, null=True)
    cancelled_because = models.TextField(_("cancelled because"), null=True)

    progress_done = models.FloatField(_("done"), null=True)
    progress_total = models.FloatField(_("of"), null=True)
    progress_message = models.TextField(_("progress"), null=True)

    schedule_id = models.BigIntegerField(_("schedule"), null=True)
    tick = models.DateTimeField(_("tick"), null=True)

    # NULL for ordinary jobs; the gates and workflows fill them.
    pending = models.IntegerField(_("parents to finish"), null=True)
    limit_key = models.CharField(_("limit key"), max_length=255, null=True)
    fair_key = models.CharField(_("fairness key"), max_length=255, null=True)
    workflow_id = models.UUIDField(_("workflow"), null=True)

    objects = JobManager()

    class Meta:
        db_table = "jobs_job"
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        default_permissions = ("view", "delete")
        permissions = [
            ("view_payload", _("Can see arguments, results and tracebacks of jobs")),
            ("retry_job", _("Can retry jobs")),
            ("cancel_job", _("Can cancel jobs")),
            ("run_job", _("Can run jobs again, with other arguments too")),
            ("move_job", _("Can change the queue and priority of jobs")),
        ]
        indexes = [
            models.Index(
                F("queue_name"),
                F("priority").desc(),
                F("run_at"),
                F("id"),
                name="jobs_job_claim",
                condition=Q(claimable=True),
            ),
            models.Index(
                "queue_name",
                "id",
                name="jobs_job_waiting",
                condition=Q(waiting_since__isnull=False),
            ),
            models.Index("failed_at", name="jobs_job_failed", condition=Q(failed_at__isnull=False)),
            models.Index(
                "cancelled_at", name="jobs_job_cancelled", condition=Q(cancelled_at__isnull=False)
            ),
            models.Index(
                "cancel_requested_at",
                name="jobs_job_cancel_requested",
                condition=Q(cancel_requested_at__isnull=False),
            ),
            models.Index(
                "schedule_id",
                "id",
                name="jobs_job_schedule",
                condition=Q(schedule_id__isnull=False),
            ),
            models.Index(
                "workflow_id",
                "id",
                name="jobs_job_workflow",
                condition=Q(workflow_id__isnull=False),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="jobs_job_state", condition=Q(state__in=[state.value for state in State])
            ),
            models.CheckConstraint(
                name="jobs_job_priority", condition=Q(priority__range=(-100, 100))
            ),
            models.CheckConstraint(
                name="jobs_job_moments",
                # Evaluated at each write: one comparison for the first of them, one for the last.
                condition=within_years(
                    "enqueued_at",
                    "run_at",
                    "expires_at",
                    "waiting_since",
                    "last_attempted_at",
                    "finished_at",
                    "failed_at",
                    "cancelled_at",
                    "cancel_requested_at",
                    "tick",
                ),
            ),
            models.CheckConstraint(
                name="jobs_job_claimable",
                condition=both_or_neither(Q(claimable=True), Q(state=State.QUEUED)),
            ),
            models.CheckConstraint(
                name="jobs_job_waiting",
                condition=both_or_neither(Q(waiting_since__isnull=False), Q(state=State.WAITING)),
            ),
            models.CheckConstraint(
                name="jobs_job_running_is_claimed",
                condition=~Q(state=State.RUNNING) | Q(claim__isnull=False),
            ),
            models.CheckConstraint(
                name="jobs_job_final_is_finished",
                condition=both_or_neither(Q(finished_at__isnull=False), Q(state__in=FINAL)),
            ),
            models.CheckConstraint(
                name="jobs_job_failed",
                condition=both_or_neither(Q(failed_at__isnull=False), Q(state=State.FAILED)),
            ),
            models.CheckConstraint(
                name="jobs_job_cancelled",
                condition=both_or_neither(Q(cancelled_at__isnull=False), Q(state=State.CANCELLED)),
            ),
            models.CheckConstraint(
                name="jobs_job_failures",
                # A failure may end at max_attempts; what a claim or a failure adds stays in range.
                condition=Q(failures__gte=0)
                & (
                    Q(max_attempts__isnull=True, failures__lte=MOST_ATTEMPTS)
                    | Q(max_attempts__range=(1, MOST_ATTEMPTS), failures__lte=F("max_attempts"))
                ),
            ),
            models.CheckConstraint(
                name="jobs_job_losses",
                condition=Q(
                    max_losses__range=(0, MOST_ATTEMPTS),
                    losses__gte=0,
                    losses__lte=F("max_losses") + 1,
                ),
            ),
            models.CheckConstraint(
                name="jobs_job_attempt", condition=Q(attempt__range=(0, MOST_CLAIMS))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task} {self.pk}"

    if not TYPE_CHECKING:

        def __class_getitem__(cls, _: object) -> type[Job]:
            """So that `Job[int]` may stand in annotations that are evaluated."""
            return cls

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: it would write all columns over a state that has moved on meanwhile."""
        raise TypeError(
            "A job is not saved. Use its verbs (job.cancel(), job.retry()), or enqueue a new one."
        )

    # How it reads: also under the names of Django's TaskResult.

    @property
    def status(self) -> str:
        """The state in django.tasks' four words."""
        return _STATUS[State(self.state)]

    @property
    def is_finished(self) -> bool:
        return self.state in FINAL

    @property
    def return_value(self) -> R_co:
        """What the task returned; a ValueError when there is no such thing (yet)."""
        if self.state == State.SUCCEEDED:
            return cast(R_co, codec.decode(self.result, load))
        if self.state == State.CANCELLED:
            raise ValueError("Task was cancelled")
        raise ValueError("Task failed" if self.is_finished else "Task has not finished yet")

    @property
    def args(self) -> list[Any]:
        """The positional arguments, as the function gets them (a query for each model instance).

        Raises the model's DoesNotExist for an instance that is gone. As JSON: `arguments["args"]`.
        """
        return cast(list[Any], codec.decode(self.arguments["args"], load))

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments, as the function gets them; as `args`."""
        given = self.arguments["kwargs"].items()
        return {name: codec.decode(value, load) for name, value in given}

    @property
    def attempts(self) -> int:
        """How often the job was claimed."""
        return self.attempt

    @property
    def errors(self) -> list[Attempt]:
        """The attempts that went wrong, oldest first (a query)."""
        return list(self._history.exclude(exception_class_path="").order_by("attempt"))

    @property
    def started_at(self) -> datetime | None:
        """When its first attempt started (a query, after the first)."""
        if self.attempt > 1:
            first = self._history.order_by("attempt").values_list("started_at", flat=True).first()
            if first is not None:
                return first
        return self.last_attempted_at

    @property
    def progress(self) -> Progress | None:
        """What the task last told by `set_progress`, or None."""
        if self.progress_done is None:
            return None
        return Progress(self.progress_done, self.progress_total, self.progress_message or "")

    @property
    def _history(self) -> models.QuerySet[Attempt]:
        from .attempt import Attempt

        return Attempt.objects.using(self._state.db).filter(job_id=self.pk)

    @property
    def history_of_attempts(self) -> models.QuerySet[Attempt]:
        """All attempts that did not simply succeed, oldest first (a query)."""
        return self._history.order_by("attempt")

    @property
    def last_problem(self) -> Attempt | None:
        """The last attempt that went wrong (a query)."""
        return self._history.exclude(exception_class_path="").order_by("-attempt").first()

    def refresh(self) -> None:
        """Read the row anew."""
        self.refresh_from_db()

    async def arefresh(self) -> None:
        """Read the row anew."""
        await self.arefresh_from_db()

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Any] | None = None,
    ) -> None:
        # Reads must see this job's own database, never a router's replica.
        super().refresh_from_db(
            using=using or self._state.db, fields=fields, from_queryset=from_queryset
        )

    # Its verbs: the work is done upstairs, by the rooms that own it.

    def cancel(self, *, by: str = "", because: str = "") -> bool:
        """Cancel it: at once when it is not running, else as soon as its runner hears of it.

        Returns whether it will not run to its end because of this call: False when it had
        already ended.
        """
        from jobs.lifecycle import cancel

        return cancel(self, by=by, because=because)

    def retry(self, *, delay: timedelta = timedelta(0)) -> None:
        """Queue it again, with its failures and losses forgotten.

        InvalidTransition unless it has failed or was cancelled.
        """
        from jobs.lifecycle import retry

        retry(self, delay=delay)

    def run_again(self, *, by: str = "") -> Job[R_co]:
        """Queue a new job with the same task, arguments and options, in the caller's transaction.

        Its metadata names this one (`again_of`), which stays what it is.
        """
        from jobs.lifecycle import again

        return cast("Job[R_co]", again(self, by=by))

    def wait(self, timeout: float | timedelta | None = None) -> R_co:
        """Block until it has ended, and return what the task returned.

        `timeout` in seconds; raises JobFailed, JobCancelled, TimeoutError, or WaitRefused
        inside a task and inside an open transaction.
        """
        from jobs.execution import wait

        return cast(R_co, wait(self, timeout))

    async def await_result(self, timeout: float | timedelta | None = None) -> R_co:
        """`wait`, without blocking the event loop."""
        from jobs.execution import await_result

        return cast(R_co, await await_result(self, timeout))
