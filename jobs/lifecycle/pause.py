"""Pause and resume a queue: a paused queue's jobs are not claimed; running ones go on."""

from __future__ import annotations

from django.db.models.functions import Now

from jobs import conf
from jobs.models import Queue


def pause(queue_name: str, *, by: str = "") -> None:
    """Claim nothing from the queue any more, until it is resumed."""
    Queue.objects.using(conf.settings().database).update_or_create(
        name=queue_name, defaults={"paused_at": Now(), "paused_by": by}
    )


def resume(queue_name: str) -> None:
    """Claim from the queue again."""
    Queue.objects.using(conf.settings().database).filter(name=queue_name).update(
        paused_at=None, paused_by=""
    )
