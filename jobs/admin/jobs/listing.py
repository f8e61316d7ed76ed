"""The list of jobs, as Django's change list, but for pages by key and counts that are guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from jobs.lifecycle.statements import read_all
from jobs.models import Attempt, Job, JobQuerySet, State

from ..payload import may_view_payload
from ..places import Places
from ..words import MOST, capped
from .asked import ERROR, Asked, Source
from .filters import Offered
from .walk import Found, estimate, walk

_STATEMENTS = read_all(Path(__file__).parent)
# In the address: where the page begins.
AFTER = "after"


class JobChangeList(ChangeList):
    """`asked` and `source` say what is looked for; `found` is this page of it."""

    asked: Asked
    source: Source
    found: Found
    after = ""
    may_see_errors = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = capfirst(str(self.opts.verbose_name_plural))

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        after = self.filter_params.pop(AFTER, None)
        self.params.pop(AFTER, None)
        if after:
            self.after = after[-1]
        said = dict(self.filter_params)
        for name in Asked.names():
            # Whatever filters a subclass offers, the pages' own links are understood.
            if not self._is_offered(name):
                self.filter_params.pop(name, None)
        jobs = super().get_queryset(request, exclude_parameters)
        self.filter_params = said
        assert isinstance(jobs, JobQuerySet)
        self._places = Places(request, self.model_admin.admin_site.name)
        self.may_see_errors = may_view_payload(request)
        self.asked = Asked.of(self.params, self.query, may_see_errors=self.may_see_errors)
        self.source = self.asked.source(jobs)
        return jobs.filter(self.asked.condition)

    def _is_offered(self, name: str) -> bool:
        return any(getattr(one, "parameter_name", None) == name for one in self.list_filter)

    def get_results(self, request: HttpRequest) -> None:
        found = self.found = walk(self.source, after=self.after, wanted=self.list_per_page)
        jobs: list[Job[Any]] = []
        for row in found.rows:
            if isinstance(row, Attempt):
                row.job.shown_error = row  # type: ignore[attr-defined]
            jobs.append(row.job if isinstance(row, Attempt) else row)
        if self.may_see_errors and not self.source.prefix:
            _tell_errors(self.root_queryset.db, jobs)
        for job in jobs:
            job.shows_payload = self.may_see_errors  # type: ignore[attr-defined]
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
    def tabs(self) -> list[dict[str, Any]]:
        """The states, and how many jobs are in those that are quickly counted. One query."""
        with connections[self.root_queryset.db].cursor() as cursor:
            cursor.execute(_STATEMENTS["tabs"], {"most": MOST + 1})
            waiting, queued, running, failed, cancelled = cursor.fetchone()
        counts = {
            # Few sites have any.
            **({State.WAITING: waiting} if waiting or self.asked.state == State.WAITING else {}),
            State.QUEUED: queued,
            State.RUNNING: running,
            State.SUCCEEDED: None,
            State.FAILED: failed,
            State.CANCELLED: cancelled,
        }
        chosen = self.asked.state
        first = {"label": _("all"), "url": "?", "count": "", "is_on": self.asked.is_everything}
        return [
            first,
            *(
                {
                    "label": state.label,
                    "url": f"?state={state}",
                    "count": "" if count is None else capped(count),
                    "is_on": chosen == state,
                    "state": state,
                }
                for state, count in counts.items()
            ),
        ]

    @property
    def chosen(self) -> list[tuple[str, str]]:
        """The filters that are on, in words: (what, which)."""
        found = [
            (str(spec.title), spec.told)
            for spec in self.filter_specs
            if isinstance(spec, Offered) and spec.value()
        ]
        return [*found, (gettext("search"), self.query)] if self.query else found

    @property
    def search_told(self) -> str:
        """What was looked for, since one field finds several things."""
        asked = self.asked
        if not self.query:
            return ""
        if asked.id is not None:
            return gettext("The job with this id.")
        if asked.words:
            return gettext("Jobs whose last error says “%(words)s”.") % {"words": asked.words}
        if asked.tasks:
            told = ngettext(
                "Jobs of %(count)d task that is named so: %(names)s.",
                "Jobs of %(count)d tasks that are named so: %(names)s.",
                len(asked.tasks),
            )
            names = Truncator(", ".join(asked.tasks)).chars(200)
            return told % {"count": len(asked.tasks), "names": names}
        return gettext("No job has this id; jobs of a workflow that has it.")

    @property
    def errors_url(self) -> str:
        """The same words, looked for in errors; empty where they were, or may not be."""
        if not self.query or not self.asked.tasks or not self.may_see_errors:
            return ""
        return self.get_query_string({SEARCH_VAR: f"{ERROR}{self.query}"})

    @property
    def kinds_url(self) -> str:
        """The page of failures by their kind, of the task that is looked at."""
        task = self.asked.tasks[0] if len(self.asked.tasks) == 1 else ""
        return self._places.of("jobs_job_kinds", task=task)

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
