"""What needs attention, in words, each with where to look; the gravest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from django.utils.translation import gettext, ngettext

from jobs import conf
from jobs.models import PausedTask, Queue, Refusal

from .. import pausing
from ..places import Places
from ..words import briefly, capped, whole
from . import health
from .figures import Overview

# A first job that has waited for longer is reported, in seconds; and a task that fails more often.
_LONG, _OFTEN = 300.0, 0.05


class Remark(NamedTuple):
    words: str
    url: str
    # Somebody wants it so.
    is_meant: bool = False


def remarks(found: Overview, places: Places, may: Callable[[str], bool]) -> list[Remark]:
    """All there is to say to who may see it; empty: all is well."""
    return [
        *_unmanned(found, places),
        *(_unserved(found, places) if may("view_queue") and found.workers else ()),
        *(_silent(found, places) if may("view_worker") else ()),
        *(_dead(found, places) if may("view_worker") else ()),
        *_refused(found, places),
        *(_late(found, places) if may("view_schedule") else ()),
        *(_unwell(found, with_queries=may("view_payload")) if may("view_worker") else ()),
        *_lost(found, places),
        *_failing(found, places),
        *(_slow(found, places) if may("view_queue") else ()),
        *(_paused(found, places) if may("view_pausedtask") or may("pause_task") else ()),
    ]


def _unmanned(found: Overview, places: Places) -> Iterator[Remark]:
    """Without a worker nothing runs: the one sentence that matters then."""
    if found.workers:
        return
    queued = sum(queue.ready + queue.line.scheduled for queue in found.queues)
    if queued:
        text = ngettext(
            "No worker is running, and %(count)s job is queued: manage.py runworker starts one.",
            "No worker is running, and %(count)s jobs are queued: manage.py runworker starts one.",
            queued,
        )
        yield Remark(text % {"count": capped(queued)}, places.jobs(state="queued"))
    else:
        words = gettext("No worker is running: manage.py runworker starts one.")
        # Nothing waits for one, and nothing will by itself.
        yield Remark(words, "", is_meant=not found.has_schedules)


def _unserved(found: Overview, places: Places) -> Iterator[Remark]:
    for queue in found.queues:
        if queue.ready and not queue.workers and queue.pause is None:
            text = ngettext(
                "No worker serves the queue %(queue)s, where %(count)s job waits.",
                "No worker serves the queue %(queue)s, where %(count)s jobs wait.",
                queue.ready,
            )
            words = text % {"queue": queue.name, "count": capped(queue.ready)}
            yield Remark(words, places.jobs(state="queued", queue=queue.name))


def _silent(found: Overview, places: Places) -> Iterator[Remark]:
    timeout = conf.settings().heartbeat_timeout.total_seconds()
    for one in found.workers:
        if one.silent_for > timeout / 2:
            text = gettext("The worker %(worker)s has not been heard of for %(time)s.")
            words = text % {"worker": one.worker.name, "time": briefly(one.silent_for)}
            yield Remark(words, places.of("jobs_worker_changelist"))


def _dead(found: Overview, places: Places) -> Iterator[Remark]:
    for one in found.dead:
        text = ngettext(
            "The worker %(worker)s (%(host)s, process %(pid)d) died %(time)s ago; %(count)d of its "
            "jobs was rescued.",
            "The worker %(worker)s (%(host)s, process %(pid)d) died %(time)s ago; %(count)d of its "
            "jobs were rescued.",
            one.rescued,
        )
        words = text % {
            "worker": one.name,
            "host": one.host,
            "pid": one.pid,
            "time": briefly((found.now - one.heartbeat_at).total_seconds()),
            "count": one.rescued,
        }
        yield Remark(words, places.of("jobs_deadworker_changelist"))


def _refused(found: Overview, places: Places) -> Iterator[Remark]:
    for one in found.refused:
        text = ngettext(
            "PostgreSQL refuses %(what)s %(key)s: %(message)s",
            "PostgreSQL refuses %(what)s %(key)s and %(more)d more: %(message)s",
            one.many,
        )
        words = text % {
            "what": Refusal.Subject(one.subject).label,
            "key": one.key,
            "more": one.many - 1,
            "message": one.message,
        }
        yield Remark(words, places.of("jobs_refusal_changelist", subject__exact=one.subject))


def blocked(rows: Iterable[Sequence[Any]]) -> list[Remark]:
    """What keeps the tables of jobs from being read, by who holds what, or waits for whom."""
    return [Remark(_blocked(*row), "") for row in rows] or [
        Remark(gettext("PostgreSQL did not answer in time: it is busy, or a table is locked."), "")
    ]


def _blocked(
    waiting: int | None,
    query: str | None,
    waits: float | None,
    pid: int,
    name: str,
    state: str,
    age: float | None,
) -> str:
    values = {"pid": pid, "name": name, "state": state, "time": briefly(age or 0.0)}
    if waiting is None:
        text = gettext(
            "The tables of jobs are locked by process %(pid)d (%(name)s, %(state)s, its "
            "transaction is open for %(time)s). To end it: SELECT pg_terminate_backend(%(pid)d)"
        )
        return text % values
    text = gettext(
        "The tables of jobs are locked: process %(waiting)d (%(query)s) has waited for %(waits)s "
        "for process %(pid)d (%(name)s, %(state)s, its transaction is open for %(time)s)"
    )
    return text % (values | {"waiting": waiting, "query": query, "waits": briefly(waits or 0.0)})


def _late(found: Overview, places: Places) -> Iterator[Remark]:
    for schedule in found.late:
        late = schedule.late_by(found.now)
        if late is not None:
            text = gettext("No beat has served the schedule %(schedule)s for %(time)s.")
            words = text % {"schedule": schedule.name, "time": briefly(late.total_seconds())}
            yield Remark(words, places.of("jobs_schedule_changelist"))


def _unwell(found: Overview, *, with_queries: bool) -> Iterator[Remark]:
    for words in health.words(found.health, with_queries=with_queries):
        yield Remark(words, "")
    for words in health.slow_claims(one.worker for one in found.workers):
        yield Remark(words, "")


def _lost(found: Overview, places: Places) -> Iterator[Remark]:
    for name, sums in found.tasks.items():
        if count := sums.counts["lost"]:
            text = ngettext(
                "In the last hour %(count)d job of %(task)s has lost its process.",
                "In the last hour %(count)d jobs of %(task)s have lost their process.",
                count,
            )
            yield Remark(text % {"count": count, "task": name}, places.jobs(task=name))


def _failing(found: Overview, places: Places) -> Iterator[Remark]:
    for name, sums in sorted(found.tasks.items(), key=lambda item: -item[1].counts["failed"]):
        failed = max(0, sums.counts["failed"] - found.quiet.get(name, 0))
        if failed and failed >= _OFTEN * sums.ended:
            text = ngettext(
                "In the last hour %(count)s job of %(task)s has failed, of %(all)s.",
                "In the last hour %(count)s jobs of %(task)s have failed, of %(all)s.",
                failed,
            )
            words = text % {"count": whole(failed), "task": name, "all": whole(sums.ended)}
            yield Remark(words, places.of("jobs_job_kinds", task=name))


def _slow(found: Overview, places: Places) -> Iterator[Remark]:
    for queue in found.queues:
        if queue.pause is not None and queue.ready:
            text = ngettext(
                "The queue %(queue)s is paused, and %(count)s job waits in it.",
                "The queue %(queue)s is paused, and %(count)s jobs wait in it.",
                queue.ready,
            )
            words = text % {"queue": queue.name, "count": capped(queue.ready)}
            url = places.of("jobs_queue_changelist")
            yield Remark(_with_why(words, queue.pause), url, is_meant=True)
        elif queue.workers and (queue.oldest or 0.0) > _LONG:
            text = gettext("In the queue %(queue)s the first job has waited for %(time)s.")
            words = text % {"queue": queue.name, "time": briefly(queue.oldest or 0.0)}
            yield Remark(words, places.jobs(state="queued", queue=queue.name))


def _paused(found: Overview, places: Places) -> Iterator[Remark]:
    for task in found.paused_tasks:
        words = gettext("The task %(task)s is paused.") % {"task": task.name}
        url = places.of("jobs_pausedtask_changelist")
        yield Remark(_with_why(words, task), url, is_meant=True)


def _with_why(words: str, pause: Queue | PausedTask) -> str:
    why = pausing.told(pause.paused_by, pause.paused_because, pause.paused_until)
    return f"{words} ({why})" if why else words
