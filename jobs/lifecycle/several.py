"""Several jobs at once, locked in the order of their ids: no two of us wait for each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import transaction

from jobs.models import Job, JobQuerySet


@contextmanager
def locked(
    ids: Collection[UUID], states: Collection[str], using: str
) -> Iterator[tuple[JobQuerySet, list[UUID]]]:
    """Those of the jobs that are in one of the states, and stay so until the transaction ends, as
    rows and as ids. A row that somebody is just writing is waited for."""
    with transaction.atomic(using=using, savepoint=False):
        jobs = Job.objects.using(using)
        found = list(
            jobs.filter(pk__in=ids, state__in=states)
            .order_by("pk")
            .select_for_update(no_key=True)
            .values_list("pk", flat=True)
        )
        yield jobs.filter(pk__in=found), found
