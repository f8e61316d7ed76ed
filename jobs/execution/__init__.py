"""Run one claimed job and say how it ended: an Outcome. Nothing here writes a state."""

from .call import aexecute, execute, execute_atomic
from .context import Context, current_context, in_job
from .judge import after_a_kill, judge, problem_of
from .logs import Log, keep_logs
from .text import clean
from .waiting import await_result, wait

__all__ = [
    "Context",
    "Log",
    "aexecute",
    "after_a_kill",
    "await_result",
    "clean",
    "current_context",
    "execute",
    "execute_atomic",
    "in_job",
    "judge",
    "keep_logs",
    "problem_of",
    "wait",
]
