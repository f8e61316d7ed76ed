"""The nouns: what the tables hold, and what the database refuses. Nothing here writes a state."""

from .attempt import Attempt
from .claim import Claim
from .job import Job, JobQuerySet
from .log import AttemptLog
from .progress import Progress
from .queue import PausedTask, Queue
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
    "Job",
    "JobQuerySet",
    "PausedTask",
    "Progress",
    "Queue",
    "Schedule",
    "Silence",
    "State",
    "Statistic",
    "Unique",
    "Worker",
]
