"""The admin: see jobs, queues, workers and schedules; retry, cancel, pause; edit schedules.

The classes may be subclassed and registered anew.
"""

from .jobs import JobAdmin
from .paused_tasks import PausedTaskAdmin
from .queues import QueueAdmin
from .refusals import DeadWorkerAdmin, RefusalAdmin
from .schedules import ScheduleAdmin
from .workers import WorkerAdmin

__all__ = [
    "DeadWorkerAdmin",
    "JobAdmin",
    "PausedTaskAdmin",
    "QueueAdmin",
    "RefusalAdmin",
    "ScheduleAdmin",
    "WorkerAdmin",
]
