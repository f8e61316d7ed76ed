"""The desk: tasks, their names, and the calls that make jobs of them."""

from .call import aenqueue, aenqueue_many, enqueue, enqueue_many, enqueue_on_commit, recalled
from .definition import AsyncTask, Task, as_task, task
from .following import followers
from .keeping import retention_of, shortest_retention
from .registry import configured, registered, resolve, sender_of

__all__ = [
    "AsyncTask",
    "Task",
    "aenqueue",
    "aenqueue_many",
    "as_task",
    "configured",
    "enqueue",
    "enqueue_many",
    "enqueue_on_commit",
    "followers",
    "recalled",
    "registered",
    "resolve",
    "retention_of",
    "sender_of",
    "shortest_retention",
    "task",
]
