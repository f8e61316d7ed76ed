"""Names that are known here: of queues and tasks, for choices and searches."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Func, TextField
from django.db.models.functions import Now

from jobs import conf
from jobs.models import PausedTask, Queue, Statistic, Worker
from jobs.models.statistic import HOUR, MINUTE, TEN_MINUTES
from jobs.tasks import registered

# Statistics tell of so long.
_LATELY = timedelta(days=2)


class _Each(Func):
    """Each of a list, as a row."""

    function = "unnest"
    set_returning = True
    output_field = TextField()


def queues() -> list[str]:
    """Those that anybody has named: settings, tasks, workers, and jobs that workers have seen."""
    alias = conf.settings().database
    names = set(conf.settings().queues or ())
    names |= {task.queue_name for task in registered().values()}
    workers = Worker.objects.using(alias).order_by()
    served = workers.annotate(queue=_Each("queues")).values_list("queue")
    rows = Queue.objects.using(alias).order_by().values_list("name").union(served)
    names |= {name for (name,) in rows}
    return sorted(names)


def tasks() -> list[str]:
    """Those that this site has, that jobs have run of lately, and that are paused."""
    alias = conf.settings().database
    ran = Statistic.objects.using(alias).filter(
        # All there are: the index begins with it.
        seconds__in=(MINUTE, TEN_MINUTES, HOUR),
        starts_at__gte=Now() - _LATELY,
    )
    names = set(registered())
    names |= set(ran.order_by().values_list("task", flat=True).distinct())
    names |= set(PausedTask.objects.using(alias).values_list("name", flat=True))
    return sorted(names - {""})
