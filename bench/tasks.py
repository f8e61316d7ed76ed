"""The same work, as this project's tasks."""

from jobs import task

from . import work

noop = task(work.noop)
nap = task(work.nap)
async_nap = task(work.async_nap)
ping = task(work.ping)
