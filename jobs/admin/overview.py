"""The overview: what the queues and workers do, what needs attention, and how the last hour, day or
week went. The front page of Jobs in the admin, which a script refreshes while it is looked at.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from jobs import conf
from jobs.models import Attempt

from . import attention, charts, figures
from .attention import briefly, capped, jobs_url
from .figures import SPANS, Overview, Sums

# So many tasks are listed.
_MOST_TASKS = 10

_OUTCOMES = (
    ("succeeded", _("succeeded")),
    ("cancelled", _("cancelled")),
    ("retried", _("retried")),
    ("failed", _("failed")),
    ("lost", _("lost")),
)


def context(request: HttpRequest) -> dict[str, Any]:
    """What the template shows, for `?span=&queue=&task=`."""
    span = SPANS.get(request.GET.get("span", ""), SPANS["hour"])
    queue_name, task = request.GET.get("queue", ""), request.GET.get("task", "")
    found = figures.read(span, queue_name=queue_name, task=task)
    chosen = {"span": span.name, "queue": queue_name, "task": task}
    return {
        "remarks": attention.remarks(found),
        "queues": [_queue(queue, chosen) for queue in found.queues],
        "workers": [_worker(worker, found.now) for worker in found.workers],
        "tasks": _tasks(found, chosen),
        "charts": _charts(found, span),
        "spans": [
            (label, _here({**chosen, "span": name}), name == span.name)
            for name, label in (("hour", _("hour")), ("day", _("day")), ("week", _("week")))
        ],
        "chosen": queue_name or task,
        "all_url": _here({"span": span.name}),
        "refresh_url": f"{reverse('admin:jobs_job_overview')}?{urlencode(chosen)}",
        "now": found.now,
        "perms_payload": request.user.has_perm("jobs.view_payload"),
    }


def _here(parameters: dict[str, str]) -> str:
    said = {name: value for name, value in parameters.items() if value}
    return f"{reverse('admin:app_list', args=['jobs'])}?{urlencode(said)}"


def _queue(queue: figures.QueueNow, chosen: dict[str, str]) -> dict[str, Any]:
    return {
        "now": queue,
        "ready": capped(queue.ready),
        "scheduled": capped(queue.scheduled),
        "oldest": "" if queue.oldest is None else briefly(queue.oldest),
        "done": f"{queue.sums.ended:,}",
        "failed": f"{queue.sums.counts['failed']:,}",
        "waits": _quantiles(queue.sums, "wait"),
        "runs": _quantiles(queue.sums, "run"),
        "url": _here({**chosen, "queue": queue.name, "task": ""}),
        "ready_url": jobs_url(state="queued", queue=queue.name),
        "failed_url": jobs_url(state="failed", queue=queue.name),
    }


def _worker(one: figures.WorkerNow, now: datetime) -> dict[str, Any]:
    worker = one.worker
    return {
        "worker": worker,
        "slots": f"{len(one.running)} / {worker.processes * worker.threads}",
        "heard": briefly(one.silent_for),
        "since": timesince(worker.started_at),
        "running": [
            {
                "job": job,
                "task": job.task.rpartition(".")[2],
                "since": briefly((now - job.last_attempted_at).total_seconds()),
                "url": reverse("admin:jobs_job_change", args=[job.pk]),
            }
            for job in one.running[:5]
        ],
        "more": max(0, len(one.running) - 5),
    }


def _tasks(found: Overview, chosen: dict[str, str]) -> list[dict[str, Any]]:
    """Those that fail most, and then those that take most of the workers' time."""
    items = sorted(
        found.tasks.items(), key=lambda item: (-item[1].bad, -item[1].attempts, item[0])
    )[:_MOST_TASKS]
    why = _last_errors([name for name, sums in items if sums.bad])
    return [
        {
            "name": name,
            "attempts": f"{sums.attempts:,}",
            "bad": f"{sums.bad:,}",
            "share": f"{100 * sums.bad / sums.attempts:.0f} %" if sums.bad else "",
            "waits": _quantiles(sums, "wait"),
            "runs": _quantiles(sums, "run"),
            "why": why.get(name),
            "url": _here({**chosen, "task": name, "queue": ""}),
            "failed_url": jobs_url(state="failed", task=name),
        }
        for name, sums in items
    ]


def _last_errors(names: list[str]) -> dict[str, Attempt]:
    """Of each task the last attempt that went wrong: the newest attempts are looked through."""
    if not names:
        return {}
    alias = conf.settings().database
    newest = (
        Attempt.objects.using(alias)
        .exclude(exception_class_path="")
        .select_related("job")
        .defer("traceback", "job__arguments", "job__result", "job__metadata")
        .order_by("-id")[:500]
    )
    found: dict[str, Attempt] = {}
    for attempt in newest:
        if attempt.job.task in names:
            found.setdefault(attempt.job.task, attempt)
    return found


def _charts(found: Overview, span: figures.Span) -> list[Any]:
    moments = [figures.beginning(span, found.now, i) for i in range(span.columns)]
    per = timedelta(seconds=span.column)
    minutes = int(per.total_seconds() // 60)
    unit = ngettext("in %(count)d minute", "in %(count)d minutes", minutes) % {"count": minutes}
    percent = (("half", _("half within")), ("most", _("95 % within")))
    return [
        charts.stacked(
            gettext("Jobs ended, %(unit)s") % {"unit": unit},
            _OUTCOMES,
            [dict(sums.counts) for sums in found.columns],
            moments,
            "",
        ),
        charts.lines(
            gettext("Jobs ready"),
            (("ready", _("ready")),),
            [{"ready": _float(sums.ready)} for sums in found.columns],
            moments,
            "",
        ),
        charts.lines(
            gettext("Wait for a start"),
            percent,
            [{"half": sums.wait(0.5), "most": sums.wait(0.95)} for sums in found.columns],
            moments,
            " s",
        ),
        charts.lines(
            gettext("Run time"),
            percent,
            [{"half": sums.run(0.5), "most": sums.run(0.95)} for sums in found.columns],
            moments,
            " s",
        ),
    ]


def _float(count: int | None) -> float | None:
    return None if count is None else float(count)


def _quantiles(sums: Sums, what: str) -> str:
    """Half within, and 95 % within."""
    of = sums.wait if what == "wait" else sums.run
    half, most = of(0.5), of(0.95)
    return "" if half is None or most is None else f"{briefly(half)} · {briefly(most)}"
