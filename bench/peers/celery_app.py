"""Celery's two apps: the same tasks, with results and without."""

from __future__ import annotations

from celery import Celery

from bench.peer import Places

from .bases import FUNCTIONS


def _make(*, forget: bool) -> Celery:
    url = Places.from_environment().redis_url
    made = Celery("bench", broker=url, backend=url)
    made.conf.update(
        task_ignore_result=forget,
        # By default a job is forgotten as it starts: a crash loses it, and nobody can tell when
        # the last one has ended. This is as fast.
        task_acks_late=True,
        broker_connection_retry_on_startup=True,
    )
    for name, function in FUNCTIONS.items():
        made.task(function, name=name)
    return made


keep = _make(forget=False)
forget = _make(forget=True)
