"""This backend in the clothes of Django's own two, for Django's own tests of them."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from jobs.backend import JobsBackend
from jobs.models import Job
from jobs.testing import run_jobs


class StoreAdapter(JobsBackend):
    """As DummyBackend: it keeps what is enqueued, and nobody runs it."""

    @property
    def results(self) -> list[Any]:
        return [self.get_result(job.pk) for job in Job.objects.order_by("id")]

    def clear(self) -> None:
        Job.objects.all().delete()


class EagerAdapter(JobsBackend):
    """As ImmediateBackend: what is enqueued has ended when `enqueue` returns."""

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        result = super().enqueue(task, args, kwargs)
        run_jobs()
        result.refresh()
        return result

    async def aenqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        return await sync_to_async(self.enqueue)(task, args, kwargs)
