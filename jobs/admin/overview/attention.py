"""What needs attention, in words, each with where to look; the gravest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from django.utils.translation import gettext, ngettext

from jobs import conf
from jobs.models import PausedTask, Queue

from .. import pausing
from ..places import Places
from ..words import briefly, capped, whole
from . import health
from .figures import Overview

# A first job that has waited for longer is told, in seconds; and a task that fails more often.
_LONG, _OFTEN = 300.0, 0.05


class Remark(NamedTuple):
    words: str
    url: str
    # Somebody wants it so.
    is_meant: bool = False


def remarks(found: Overview, places: Places, may: Callable[[str], bool]) -> list[Remark]:
    """All there is to say to who may see it; empty: all is well."""
    return [
        *(_unserved(found, places) if may("view_queue") else ()),
        *(_silent(found, places) if may("view_worker") else ()),
        *(_late(found, places) if may("view_schedule") else ()),
        *(_unwell(found, with_queries=may("view_payload")) if may("view_worker") else ()),
        *_lost(found, places),
        *_failing(found, places),
        *(_slow(found, places) if may("view_queue") else ()),
        *(_paused(found, places) if may("view_pausedtask") or may("pause_task") else ()),
    ]


def _unserved(found: Overview, places: Places) -> Iterator[Remark]:
    for queue in found.queues:
        if queue.ready and not queue.workers and queue.pause is None:
            told = ngettext(
                "No worker serves the queue %(queue)s, where %(count)s job waits.",
                "No worker serves the queue %(queue)s, where %(count)s jobs wait.",
                queue.ready,
            )
            words = told % {"queue": queue.name, "count": capped(queue.ready)}
            yield Remark(words, places.jobs(state="queued", queue=queue.name))


def _silent(found: Overview, places: Places) -> Iterator[Remark]:
    timeout = conf.settings().heartbeat_timeout.total_seconds()
    for one in found.workers:
        if one.silent_for > timeout / 2:
            told = gettext("The worker %(worker)s has not been heard of for %(time)s.")
            words = told % {"worker": one.worker.name, "time": briefly(one.silent_for)}
            yield Remark(words, places.of("jobs_worker_changelist"))


def _late(found: Overview, places: Places) -> Iterator[Remark]:
    for schedule in found.late:
        late = schedule.late_by(found.now)
        if late is not None:
            told = gettext("No beat has served the schedule %(schedule)s for %(time)s.")
            words = told % {"schedule": schedule.name, "time": briefly(late.total_seconds())}
            yield Remark(words, places.of("jobs_schedule_changelist"))


def _unwell(found: Overview, *, with_queries: bool) -> Iterator[Remark]:
    for words in health.words(found.health, with_queries=with_queries):
        yield Remark(words, "")
    for words in health.slow_claims(one.worker for one in found.workers):
        yield Remark(words, "")


def _lost(found: Overview, places: Places) -> Iterator[Remark]:
    for name, sums in found.tasks.items():
        if count := sums.counts["lost"]:
            told = ngettext(
                "In the last hour %(count)d job of %(task)s has lost its process.",
                "In the last hour %(count)d jobs of %(task)s have lost their process.",
                count,
            )
            yield Remark(told % {"count": count, "task": name}, places.jobs(task=name))


def _failing(found: Overview, places: Places) -> Iterator[Remark]:
    for name, sums in sorted(found.tasks.items(), key=lambda item: -item[1].counts["failed"]):
        failed = max(0, sums.counts["failed"] - found.quiet.get(name, 0))
        if failed and failed >= _OFTEN * sums.ended:
            told = ngettext(
                "In the last hour %(count)s job of %(task)s has failed, of %(all)s.",
                "In the last hour %(count)s jobs of %(task)s have failed, of %(all)s.",
                failed,
            )
            words = told % {"count": whole(failed), "task": name, "all": whole(sums.ended)}
            yield Remark(words, places.of("jobs_job_kinds", task=name))


def _slow(found: Overview, places: Places) -> Iterator[Remark]:
    for queue in found.queues:
        if queue.pause is not None and queue.ready:
            told = ngettext(
                "The queue %(queue)s is paused, and %(count)s job waits in it.",
                "The queue %(queue)s is paused, and %(count)s jobs wait in it.",
                queue.ready,
            )
            words = told % {"queue": queue.name, "count": capped(queue.ready)}
            url = places.of("jobs_queue_changelist")
            yield Remark(_with_why(words, queue.pause), url, is_meant=True)
        elif queue.workers and (queue.oldest or 0.0) > _LONG:
            told = gettext("In the queue %(queue)s the first job has waited for %(time)s.")
            words = told % {"queue": queue.name, "time": briefly(queue.oldest or 0.0)}
            yield Remark(words, places.jobs(state="queued", queue=queue.name))


def _paused(found: Overview, places: Places) -> Iterator[Remark]:
    for task in found.paused_tasks:
        words = gettext("The task %(task)s is paused.") % {"task": task.name}
        url = places.of("jobs_pausedtask_changelist")
        yield Remark(_with_why(words, task), url, is_meant=True)


def _with_why(words: str, pause: Queue | PausedTask) -> str:
    why = pausing.told(pause.paused_by, pause.paused_because, pause.paused_until)
    return f"{words} ({why})" if why else words
