"""The desk: tasks, their names, and the calls that make jobs of them."""

from .call import aenqueue, aenqueue_many, enqueue, enqueue_many
from .definition import AsyncTask, Task, as_task, task
from .registry import registered, resolve

__all__ = [
    "AsyncTask",
    "Task",
    "aenqueue",
    "aenqueue_many",
    "as_task",
    "enqueue",
    "enqueue_many",
    "registered",
    "resolve",
    "task",
]
