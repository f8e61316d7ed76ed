"""The worker: a supervisor that runs no user code, and runner processes that do.

Supervisor: registers, forks runners, says that all live, gives back what the dead held.
Runner: a dispatcher thread that records and claims, and slots that run jobs.
"""

from .options import Options
from .supervisor import Supervisor

__all__ = ["Options", "Supervisor"]
