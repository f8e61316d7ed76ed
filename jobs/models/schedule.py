"""The schedule: when a task is to be enqueued again and again.

A trigger (migrations/0003_schedules.py) looks after `next_run_at` and `stale_since` when anything
else of a row changes, in whatever way; so `update()` and plain SQL are as good as `save()`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from jobs import codec, cron
from jobs.bounds import FIRST_MOMENT, LAST_MOMENT
from jobs.errors import InvalidSchedule

from .fields import SafeJSONField
from .references import load

# Within these is whatever a schedule says of moments and durations.
MOMENTS = (FIRST_MOMENT, LAST_MOMENT)
SPANS = (timedelta(0), cron.LONGEST)


def _all_null_or_within(names: tuple[str, ...], bounds: tuple[Any, Any]) -> Q:
    return Q(*(Q((f"{name}__isnull", True)) | Q((f"{name}__range", bounds)) for name in names))


# A tick that is later than this has no beat that serves it.
LATE = timedelta(seconds=10)


class Schedule(models.Model):
    """One rule and one call. Any number of beats serve it; `last_tick` only moves forward."""

    class Kind(models.TextChoices):
        CRON = "cron", _("cron")
        INTERVAL = "interval", _("interval")
        AT = "at", _("once")
        SOLAR = "solar", _("the sun")

    class Source(models.TextChoices):
        # Declared with @task(schedule=…).
        CODE = "code", _("code")
        # Declared in JOBS["SCHEDULES"].
        SETTINGS = "settings", _("settings")
        # Made by somebody, in the admin or by SQL.
        HAND = "hand", _("by hand")

    class Days(models.TextChoices):
        EITHER = "either", _("either is enough")
        BOTH = "both", _("both have to fit")

    class CatchUp(models.TextChoices):
        LATEST = "latest", _("one run for all of them")
        NONE = "none", _("none")
        ALL = "all", _("a run for each")

    class Overlap(models.TextChoices):
        ALLOW = "allow", _("run beside it")
        SKIP = "skip", _("skip the new one")
        CANCEL = "cancel", _("cancel the old one")

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(_("name"), max_length=255, unique=True)
    description = models.TextField(_("description"), blank=True, db_default="", default="")
    source = models.CharField(
        _("declared in"), max_length=8, choices=Source.choices, db_default=Source.HAND
    )
    task = models.CharField(_("task"), max_length=255)
    arguments = SafeJSONField(
        _("arguments"), db_default=Value({"args": [], "kwargs": {}}, models.JSONField())
    )

    # When: the rule.
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices)
    line = models.CharField(_("cron line"), max_length=255, blank=True, db_default="", default="")
    # Empty: the site's TIME_ZONE.
    timezone = models.CharField(
        _("time zone"), max_length=64, blank=True, db_default="", default=""
    )
    days = models.CharField(
        _("day of month and day of week"),
        max_length=6,
        choices=Days.choices,
        db_default=Days.EITHER,
        default=Days.EITHER,
    )
    # Of an interval: its length, and a tick that it is in phase with.
    interval = models.DurationField(_("interval"), null=True, blank=True)
    # Of an interval its anchor; of a one-off its moment.
    anchor = models.DateTimeField(_("anchor"), null=True, blank=True)
    # Of the sun.
    event = models.CharField(_("event"), max_length=24, blank=True, db_default="", default="")
    latitude = models.FloatField(_("latitude"), null=True, blank=True)
    longitude = models.FloatField(_("longitude"), null=True, blank=True)

    # What becomes of its ticks.
    enabled = models.BooleanField(_("enabled"), db_default=True, default=True)
    starts_at = models.DateTimeField(_("starts at"), null=True, blank=True)
    ends_at = models.DateTimeField(_("ends at"), null=True, blank=True)
    catch_up = models.CharField(
        _("ticks that were missed"),
        max_length=6,
        choices=CatchUp.choices,
        db_default=CatchUp.LATEST,
        default=CatchUp.LATEST,
    )
    catch_up_limit = models.SmallIntegerField(
        _("missed ticks at most"), db_default=100, default=100
    )
    grace = models.DurationField(_("late by at most"), null=True, blank=True)
    overlap = models.CharField(
        _("while the last run still lives"),
        max_length=6,
        choices=Overlap.choices,
        db_default=Overlap.ALLOW,
        default=Overlap.ALLOW,
    )
    jitter = models.DurationField(_("jitter"), null=True, blank=True)
    max_runs = models.IntegerField(_("runs at most"), null=True, blank=True)
    tick_argument = models.CharField(
        _("argument for the tick"), max_length=64, blank=True, db_default="", default=""
    )

    # Options of its jobs; NULL: the task's own.
    queue_name = models.CharField(_("queue"), max_length=128, null=True, blank=True)
    priority = models.SmallIntegerField(_("priority"), null=True, blank=True)
    run_after = models.DurationField(_("run after"), null=True, blank=True)
    max_attempts = models.SmallIntegerField(_("attempts at most"), null=True, blank=True)
    max_losses = models.SmallIntegerField(_("losses at most"), null=True, blank=True)
    timeout = models.DurationField(_("time limit"), null=True, blank=True)
    expires_after = models.DurationField(_("expires after"), null=True, blank=True)
    metadata = SafeJSONField(_("metadata"), null=True, blank=True)

    # What the beats write.
    # Set when what declared it declares it no longer; it ticks no more.
    retired_at = models.DateTimeField(_("retired at"), null=True)
    next_run_at = models.DateTimeField(_("next run at"), null=True)
    # From when on a beat has to find its next tick: the trigger's word.
    stale_since = models.DateTimeField(_("to be planned since"), null=True)
    last_tick = models.DateTimeField(_("last tick"), null=True)
    last_job_id = models.UUIDField(_("last job"), null=True)
    # How many ticks have become jobs.
    runs = models.IntegerField(_("runs"), db_default=0, default=0)
    # How many have not, on purpose; the last of them, and why.
    skips = models.IntegerField(_("skipped"), db_default=0, default=0)
    skipped_tick = models.DateTimeField(_("last skipped tick"), null=True)
    skipped_because = models.CharField(
        _("skipped because"), max_length=16, db_default="", default=""
    )
    # Why its last tick could not be enqueued; empty when it could. And the first that could not.
    missed_tick = models.DateTimeField(_("missed tick"), null=True)
    problem = models.TextField(_("problem"), db_default="", default="")
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "jobs_schedule"
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        permissions = [("run_schedule", _("Can run schedules now"))]
        ordering = ("name",)
        indexes = [
            models.Index(
                "next_run_at",
                name="jobs_schedule_due",
                condition=Q(next_run_at__isnull=False),
            ),
            models.Index(
                "stale_since",
                name="jobs_schedule_stale",
                condition=Q(stale_since__isnull=False),
            ),
        ]
        constraints = [
            # What neither Python nor a calendar can hold would keep others from being read.
            models.CheckConstraint(
                name="jobs_schedule_moments",
                condition=_all_null_or_within(
                    (
                        "starts_at",
                        "ends_at",
                        "anchor",
                        "next_run_at",
                        "stale_since",
                        "last_tick",
                        "missed_tick",
                        "skipped_tick",
                        "retired_at",
                        "created_at",
                    ),
                    MOMENTS,
                ),
            ),
            models.CheckConstraint(
                name="jobs_schedule_spans",
                condition=_all_null_or_within(
                    ("interval", "grace", "jitter", "run_after", "timeout", "expires_after"), SPANS
                ),
            ),
            models.CheckConstraint(
                name="jobs_schedule_kind",
                condition=Q(kind="cron") & ~Q(line="")
                | Q(kind="interval", interval__isnull=False, anchor__isnull=False)
                | Q(kind="at", anchor__isnull=False)
                | Q(kind="solar", latitude__isnull=False, longitude__isnull=False) & ~Q(event=""),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, **options: Any) -> None:
        """Write what people write: what the beats write may have changed since it was read."""
        is_known = not self._state.adding and self.pk is not None
        if is_known and options.get("update_fields") is None:
            names = {field.name for field in self._meta.concrete_fields}
            names -= {"id", "retired_at", *_BEATS, *self.get_deferred_fields()}
            options["update_fields"] = names
        super().save(**options)

    @property
    def rule(self) -> cron.Rule:
        """The rule as a value; InvalidSchedule when the row no longer names one."""
        if self.kind == self.Kind.CRON:
            return cron.Cron(self.line, self.timezone or None, self.days)  # type: ignore[arg-type]
        if self.kind == self.Kind.SOLAR:
            return cron.Solar(self.event, self.latitude or 0.0, self.longitude or 0.0)
        if self.anchor is None:
            raise InvalidSchedule(f"{self.get_kind_display()} needs an anchor")
        if self.kind == self.Kind.INTERVAL:
            return cron.Every(self.interval or timedelta(0), self.anchor)
        return cron.At(self.anchor)

    @property
    def policy(self) -> cron.Policy:
        return cron.Policy(
            self.catch_up,  # type: ignore[arg-type]
            self.catch_up_limit,
            self.grace,
            self.starts_at,
            self.ends_at,
        )

    @property
    def options(self) -> dict[str, Any]:
        """What its jobs are given by `using`."""
        given = {name: getattr(self, name) for name in OPTIONS if getattr(self, name) is not None}
        if self.metadata is not None:
            given["metadata"] = codec.decode(self.metadata, load)
        return given

    def late_by(self, now: datetime) -> timedelta | None:
        """For how long no beat has served what is due; None: it is not late."""
        due = self.next_run_at or self.stale_since
        return None if due is None or now - due <= LATE else now - due

    @property
    def has_ended(self) -> bool:
        """Whether it will tick no more, although nobody has switched it off."""
        is_on = self.enabled and self.retired_at is None
        return is_on and self.next_run_at is None and self.stale_since is None

    def first_after(self, moment: datetime) -> datetime | None:
        """Its first tick strictly after `moment`; None when there is none any more."""
        if self.max_runs is not None and self.runs >= self.max_runs:
            return None
        return cron.first_after(self.rule, self.policy, moment, settings.TIME_ZONE)


OPTIONS = (
    "queue_name",
    "priority",
    "run_after",
    "max_attempts",
    "max_losses",
    "timeout",
    "expires_after",
    "metadata",
)
# What the beats write.
_BEATS = {
    "next_run_at",
    "stale_since",
    "last_tick",
    "last_job_id",
    "runs",
    "skips",
    "skipped_tick",
    "skipped_because",
    "problem",
    "missed_tick",
}
_OF_PLANS = (
    "description",
    "starts_at",
    "ends_at",
    "catch_up",
    "catch_up_limit",
    "grace",
    "overlap",
    "jitter",
    "max_runs",
    "tick_argument",
    *OPTIONS,
)


def columns_of(plan: cron.Plan) -> dict[str, Any]:
    """The columns that keep a plan, but for the arguments; NotStorable."""
    columns = columns_of_rule(plan.rule) | {name: getattr(plan, name) for name in _OF_PLANS}
    if plan.metadata is not None:
        columns["metadata"] = codec.encode(dict(plan.metadata), "metadata")
    return columns


def columns_of_rule(rule: cron.Rule) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "line": "",
        "timezone": "",
        "days": "either",
        "interval": None,
        "anchor": None,
        "event": "",
        "latitude": None,
        "longitude": None,
    }
    match rule:
        case cron.Cron(line, timezone, days):
            return columns | {
                "kind": "cron",
                "line": line,
                "timezone": timezone or "",
                "days": days,
            }
        case cron.Every(interval, anchor):
            return columns | {"kind": "interval", "interval": interval, "anchor": anchor}
        case cron.At(moment):
            return columns | {"kind": "at", "anchor": moment}
        case cron.Solar(event, latitude, longitude):
            return columns | {
                "kind": "solar",
                "event": event,
                "latitude": latitude,
                "longitude": longitude,
            }
