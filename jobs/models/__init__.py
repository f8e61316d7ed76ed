"""The nouns: what the tables hold, and what the database refuses. Nothing here writes a state."""

from .attempt import Attempt
from .claim import Claim
from .dead_worker import DeadWorker
from .job import Job, JobQuerySet
from .log import AttemptLog
from .progress import Progress
from .queue import PausedTask, Queue
from .refusal import Refusal
from .schedule import Schedule
from .silence import Silence
from .states import FINAL, AttemptOutcome, State
from .statistic import Statistic
from .unique import Unique
from .worker import Worker

__all__ = [
    "FINAL",
    "Attempt",
    "AttemptLog",
    "AttemptOutcome",
    "Claim",
    "DeadWorker",
    "Job",
    "JobQuerySet",
    "PausedTask",
    "Progress",
    "Queue",
    "Refusal",
    "Schedule",
    "Silence",
    "State",
    "Statistic",
    "Unique",
    "Worker",
]
