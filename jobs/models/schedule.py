"""The schedule: when a task is to be enqueued again and again."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from jobs import cron


class Schedule(models.Model):
    """One rule and one call. Any number of beats serve it; `last_tick` only moves forward."""

    class Kind(models.TextChoices):
        CRON = "cron", _("cron")
        INTERVAL = "interval", _("interval")
        AT = "at", _("once")

    class Source(models.TextChoices):
        # Declared with @task(schedule=…).
        CODE = "code", _("code")
        # Declared in JOBS["SCHEDULES"].
        SETTINGS = "settings", _("settings")

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(_("name"), max_length=255, unique=True)
    source = models.CharField(_("declared in"), max_length=8, choices=Source.choices)
    task = models.CharField(_("task"), max_length=255)
    arguments = models.JSONField(
        _("arguments"), db_default=Value({"args": [], "kwargs": {}}, models.JSONField())
    )
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices)
    # Of a cron rule.
    line = models.CharField(_("cron line"), max_length=255, db_default="")
    # Empty: the site's TIME_ZONE.
    timezone = models.CharField(_("time zone"), max_length=64, db_default="")
    # Of an interval: its length, and a tick that it is in phase with.
    interval = models.DurationField(_("interval"), null=True)
    # Of an interval its anchor; of a one-off its moment.
    anchor = models.DateTimeField(_("anchor"), null=True)
    enabled = models.BooleanField(_("enabled"), db_default=True)
    # Set when what declared it declares it no longer; it ticks no more.
    retired_at = models.DateTimeField(_("retired at"), null=True)
    last_tick = models.DateTimeField(_("last tick"), null=True)
    next_run_at = models.DateTimeField(_("next run at"), null=True)
    last_job_id = models.UUIDField(_("last job"), null=True)
    # Why its last tick could not be enqueued; empty when it could.
    problem = models.TextField(_("problem"), db_default="")
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "jobs_schedule"
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        default_permissions = ("view", "change", "delete")
        permissions = [("run_schedule", _("Can run schedules now"))]
        ordering = ("name",)
        indexes = [
            models.Index(
                "next_run_at",
                name="jobs_schedule_due",
                condition=Q(next_run_at__isnull=False),
            )
        ]
        constraints = [
            models.CheckConstraint(
                name="jobs_schedule_kind",
                condition=Q(kind="cron") & ~Q(line="")
                | Q(kind="interval", interval__isnull=False, anchor__isnull=False)
                | Q(kind="at", anchor__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def rule(self) -> cron.Rule:
        """The rule as a value; InvalidSchedule when the row no longer names one."""
        if self.kind == self.Kind.CRON:
            return cron.Cron(self.line, self.timezone or None)
        assert self.anchor is not None
        if self.kind == self.Kind.INTERVAL:
            return cron.Every(self.interval or timedelta(0), self.anchor)
        return cron.At(self.anchor)

    @staticmethod
    def columns_of(rule: cron.Rule) -> dict[str, str | timedelta | datetime | None]:
        """The columns that keep a rule."""
        columns: dict[str, str | timedelta | datetime | None] = {
            "line": "",
            "timezone": "",
            "interval": None,
            "anchor": None,
        }
        match rule:
            case cron.Cron(line, timezone):
                columns |= {"kind": "cron", "line": line, "timezone": timezone or ""}
            case cron.Every(interval, anchor):
                columns |= {"kind": "interval", "interval": interval, "anchor": anchor}
            case cron.At(moment):
                columns |= {"kind": "at", "anchor": moment}
        return columns

    def next_after(self, moment: datetime) -> datetime | None:
        """Its first tick strictly after `moment`."""
        return self.rule.next_after(moment, settings.TIME_ZONE)
