"""The list of jobs, as Django's change list, but for pages by key and counts that are guessed."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import capfirst

from jobs.models import Attempt, Job, JobQuerySet, State

from ..payload import may_view_payload
from .asked import Asked, Source
from .walk import Found, estimate, walk

# In the address: where the page begins.
AFTER = "after"


class JobChangeList(ChangeList):
    """`asked` and `source` say what is looked for; `found` is this page of it."""

    asked: Asked
    source: Source
    found: Found
    after = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = capfirst(str(self.opts.verbose_name_plural))

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        after = self.filter_params.pop(AFTER, None)
        self.params.pop(AFTER, None)
        if after:
            self.after = after[-1]
        jobs = super().get_queryset(request, exclude_parameters)
        assert isinstance(jobs, JobQuerySet)
        may_see = may_view_payload(request)
        self.asked = Asked.of(self.params, self.query, may_see_errors=may_see)
        self.source = self.asked.source(jobs)
        return jobs.filter(self.asked.condition)

    def get_results(self, request: HttpRequest) -> None:
        found = self.found = walk(self.source, after=self.after, wanted=self.list_per_page)
        jobs: list[Job[Any]] = [row.job if isinstance(row, Attempt) else row for row in found.rows]
        if may_view_payload(request):
            _tell_errors(self.root_queryset.db, jobs)
        self.result_list = jobs
        self.is_exact = not (found.after or self.after)
        self.result_count = len(jobs) if self.is_exact else self._about(len(jobs))
        self.full_result_count = self.result_count
        self.show_full_result_count = False
        self.show_admin_actions = True
        # Pages have no numbers (see pagination.html).
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(jobs, self.list_per_page)

    def _about(self, shown: int) -> int:
        """What was looked at and found says more than the planner, which guesses."""
        if self.found.looked is not None:
            return shown
        return max(shown, rounded(estimate(self.queryset)))

    @property
    def older_url(self) -> str:
        return self.get_query_string({AFTER: self.found.after}) if self.found.after else ""

    @property
    def first_url(self) -> str:
        return self.get_query_string() if self.after else ""


def rounded(count: int) -> int:
    """To two digits: it is a guess."""
    digits: int = 10 ** max(0, len(str(count)) - 2)
    return round(count / digits) * digits


def _tell_errors(alias: str, jobs: list[Job[Any]]) -> None:
    """Give each that has failed its last attempt that went wrong, as `shown_error`."""
    wrong = [job.pk for job in jobs if job.state == State.FAILED or job.failures + job.losses]
    if not wrong:
        return
    attempts = (
        Attempt.objects.using(alias)
        .filter(job_id__in=wrong)
        .exclude(exception_class_path="")
        .order_by("job_id", "-attempt")
        .distinct("job_id")
        .defer("traceback")
    )
    last = {attempt.job_id: attempt for attempt in attempts}
    for job in jobs:
        job.shown_error = last.get(job.pk)  # type: ignore[attr-defined]
