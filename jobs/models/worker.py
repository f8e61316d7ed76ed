"""The worker: one `runworker` that lives, or whose death nobody has noticed yet."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .fields import TextListField, UUIDListField


class Worker(models.Model):
    id = models.UUIDField(primary_key=True)
    name = models.CharField(_("name"), max_length=128)
    host = models.CharField(_("host"), max_length=255)
    pid = models.IntegerField(_("process"))
    # What it understands of the tables: older workers must not claim rows they misread.
    protocol = models.SmallIntegerField(_("protocol"))
    version = models.CharField(_("version"), max_length=32)
    # NULL: all queues but the excluded ones.
    queues = TextListField(_("queues"), null=True)
    excluded_queues = TextListField(_("excluded queues"))
    processes = models.SmallIntegerField(_("processes"))
    threads = models.SmallIntegerField(_("threads"))
    coroutines = models.SmallIntegerField(_("coroutines"))
    started_at = models.DateTimeField(_("started at"), db_default=Now())
    heartbeat_at = models.DateTimeField(_("heartbeat at"), db_default=Now())
    # The runners that live; claims of any other of this worker's are given back.
    runners = UUIDListField(_("runners"))
    # Those of them that sleep and want to be notified.
    idle = UUIDListField(_("idle runners"))
    # As the last heartbeat told: how many jobs its slots run; how many attempts have ended since
    # it started, and how many in a second of late; how long a claim takes it, in seconds (NULL: it
    # has claimed nothing yet); its processes' memory, in bytes (NULL: unknown).
    running = models.IntegerField(_("running"), db_default=0)
    ended = models.BigIntegerField(_("ended"), db_default=0)
    pace = models.FloatField(_("pace"), db_default=0.0)
    claim_time = models.FloatField(_("claim time"), null=True)
    memory = models.BigIntegerField(_("memory"), null=True)
    stopping = models.BooleanField(_("stopping"), db_default=False)

    class Meta:
        db_table = "jobs_worker"
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        default_permissions = ("view",)
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def serves(self, queue_name: str) -> bool:
        if queue_name in (self.excluded_queues or ()):
            return False
        return self.queues is None or queue_name in self.queues
