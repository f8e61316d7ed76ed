"""The overview: what the queues and workers do, what needs attention, and how the last hour, day or
week went. The front page of Jobs in the admin, which a script refreshes while it is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.db.utils import OperationalError
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from psycopg.errors import LockNotAvailable, QueryCanceled

from jobs import conf
from jobs.models import PausedTask, Queue

from .. import pausing
from ..jobs.walk import patiently
from ..places import Places, asked
from ..words import at_pace, breakable, briefly, capped, whole
from . import attention, charts, figures, health
from .figures import SPANS, Overview
from .sums import Sums

# (the page again, with these chosen otherwise)
Here = Callable[..., str]

# So many tasks are listed.
_MOST_TASKS = 10

_OUTCOMES = (
    ("succeeded", _("succeeded")),
    ("cancelled", _("cancelled")),
    ("retried", _("retried")),
    ("failed", _("failed")),
    ("lost", _("lost")),
)


# A statement of a page takes so long at most, in milliseconds: behind a lock, pages that are looked
# at must not pile up statements.
_PATIENCE = 5_000
# A page that shows what is in the way asks again after so many seconds.
_EVERY_BLOCKED = 20
# So often the script asks, in seconds: longer spans change less, and are more to read.
_EVERY = {"hour": 5, "day": 60, "week": 60}


def is_for(request: HttpRequest) -> bool:
    """Whether whoever asks may see it, on a site of the admin that has the jobs' pages."""
    may_see: bool = request.user.has_perm("jobs.view_job")
    return may_see and bool(Places(request).of("jobs_job_overview"))


def context(request: HttpRequest) -> dict[str, Any]:
    """What the template shows, for `?span=&queue=&task=`."""

    def may(codename: str) -> bool:
        return request.user.has_perm(f"jobs.{codename}")

    try:
        with patiently(conf.settings().database, milliseconds=_PATIENCE, scans=True):
            return _context(request, may)
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled | LockNotAvailable):
            raise
        return _blocked(request)


def _blocked(request: HttpRequest) -> dict[str, Any]:
    """Instead of figures that cannot be read in time: what is in the way."""
    places = Places(request)
    alias = conf.settings().database
    rows: list[Any] = []
    # The server may be too busy even for that.
    with suppress(OperationalError), patiently(alias, milliseconds=_PATIENCE, scans=True):
        rows = figures.locks(alias)
    asked_for = {name: asked(request, name) for name in ("span", "queue", "task")}
    return {
        "is_blocked": True,
        "remarks": attention.blocked(rows if request.user.has_perm("jobs.view_worker") else ()),
        "refresh_url": places.of("jobs_job_overview", **asked_for),
        "every": _EVERY_BLOCKED,
    }


def _context(request: HttpRequest, may: Callable[[str], bool]) -> dict[str, Any]:
    places = Places(request)
    span = SPANS.get(request.GET.get("span", ""), SPANS["hour"])
    queue_name, task = asked(request, "queue"), asked(request, "task")
    found = figures.read(span, queue_name=queue_name, task=task, with_errors=may("view_payload"))
    chosen = {"span": span.name, "queue": queue_name, "task": task}

    def here(**other: str) -> str:
        return places.of("app_list", "jobs", **(chosen | other)) + "#charts"

    return {
        "remarks": attention.remarks(found, places, may),
        "may_view_queues": may("view_queue"),
        "queues": [
            _queue(queue, places, here) | {"is_chosen": queue.name == queue_name}
            for queue in found.queues
        ],
        "may_pause_queues": may("pause_queue"),
        "may_pause_tasks": may("pause_task"),
        "pause_url": places.of("jobs_queue_changelist"),
        "paused_tasks_url": places.of("jobs_pausedtask_changelist"),
        "may_view_workers": may("view_worker"),
        "tables": health.tables(found.health),
        "connections": "{connections} / {most_connections}".format(**found.health),
        "workers": [_worker(worker, found.now, places) for worker in found.workers],
        "tasks": _tasks(
            found,
            places,
            here,
            chosen=task,
            with_pauses=may("view_pausedtask") or may("pause_task"),
        ),
        "charts": _charts(found, span),
        "spans": [
            (label, here(span=name), name == span.name)
            for name, label in (("hour", _("hour")), ("day", _("day")), ("week", _("week")))
        ],
        "chosen": queue_name or task,
        "all_url": here(queue="", task=""),
        "refresh_url": places.of("jobs_job_overview", **chosen),
        "every": _EVERY[span.name],
    }


def _queue(queue: figures.QueueNow, places: Places, here: Here) -> dict[str, Any]:
    return {
        "now": queue,
        "ready": capped(queue.ready),
        "scheduled": capped(queue.line.scheduled),
        "waiting": capped(queue.line.waiting),
        "waiting_url": places.jobs(state="waiting", queue=queue.name) if queue.line.waiting else "",
        "held": whole(queue.held),
        "came": whole(round(queue.line.came)),
        "went": whole(queue.went),
        "pause": _pause(queue.pause),
        "oldest": "" if queue.oldest is None else briefly(queue.oldest),
        "done": whole(queue.sums.ended),
        "failed": whole(queue.sums.counts["failed"]),
        "waits": _quantiles(queue.sums, "wait"),
        "runs": _quantiles(queue.sums, "run"),
        "url": here(queue=queue.name, task=""),
        "ready_url": places.jobs(state="queued", queue=queue.name),
        "failed_url": places.jobs(state="failed", queue=queue.name, within="hour"),
    }


def _pause(pause: Queue | PausedTask | None) -> str:
    """Why it is paused; empty: it is not."""
    if pause is None:
        return ""
    told = pausing.told(pause.paused_by, pause.paused_because, pause.paused_until)
    return told or gettext("paused")


def _worker(one: figures.WorkerNow, now: datetime, places: Places) -> dict[str, Any]:
    worker = one.worker
    slots = f"{worker.processes} × ({worker.threads} + {worker.coroutines})"
    return {
        "worker": worker,
        "url": places.jobs(state="running", worker=worker.name),
        "held_count": whole(len(one.held)),
        "slots": slots,
        "running": whole(worker.running),
        "pace": at_pace(worker.pace),
        "claim_time": "" if worker.claim_time is None else briefly(worker.claim_time),
        "memory": "" if worker.memory is None else filesizeformat(worker.memory),
        "heard": briefly(one.silent_for),
        "since": timesince(worker.started_at),
        "held": [
            {
                "task": job.task.rpartition(".")[2],
                "since": "" if job.since is None else _since(now, job.since),
                "url": places.of("jobs_job_change", job.id),
            }
            for job in one.held[:5]
        ],
        "more": max(0, len(one.held) - 5),
    }


def _since(now: datetime, moment: datetime) -> str:
    # A snapshot may be younger than the statement's own moment.
    return briefly(max(0.0, (now - moment).total_seconds()))


def _tasks(
    found: Overview,
    places: Places,
    here: Here,
    *,
    chosen: str,
    with_pauses: bool,
) -> list[dict[str, Any]]:
    """Those that go wrong most, and then those that run most."""
    items = sorted(
        found.tasks.items(), key=lambda item: (-item[1].bad, -item[1].attempts, item[0])
    )[:_MOST_TASKS]
    paused = {task.name: task for task in found.paused_tasks} if with_pauses else {}
    why = {name: found.errors[name] for name, sums in items if sums.bad and name in found.errors}
    return [
        {
            "name": name,
            "told": breakable(name),
            "attempts": whole(sums.attempts),
            "failed": whole(sums.counts["failed"]),
            "retried": whole(sums.counts["retried"]),
            "lost": whole(sums.counts["lost"]),
            "share": _share(sums.counts["failed"], sums.ended),
            "is_chosen": name == chosen,
            "waits": _quantiles(sums, "wait"),
            "runs": _quantiles(sums, "run"),
            "pause": _pause(paused.get(name)),
            "pause_url": places.of("jobs_pausedtask_add", task=name, of_overview="1"),
            "why": why.get(name),
            "why_url": places.of("jobs_job_change", why[name].job_id) if name in why else "",
            "url": here(task=name, queue=""),
            "failed_url": places.jobs(state="failed", task=name, within="hour"),
        }
        for name, sums in items
    ]


def _share(count: int, of: int) -> str:
    percent = 100 * count / of if of else 0.0
    if not percent:
        return ""
    return f"{number_format(percent, 0 if percent >= 1 else 1)} %" if percent >= 0.05 else "<0.1 %"


def _charts(found: Overview, span: figures.Span) -> list[Any]:
    moments = [figures.beginning(span, found.now, i) for i in range(span.columns)]
    per = timedelta(seconds=span.column)
    minutes = int(per.total_seconds() // 60)
    ended = ngettext("Jobs ended per minute", "Jobs ended per %(count)d minutes", minutes)
    percent = (("half", _("median")), ("most", _("95 % within")))
    return [
        charts.stacked(
            ended % {"count": minutes},
            _OUTCOMES,
            [sums.counts for sums in found.columns],
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
