"""Huey's tasks."""

from __future__ import annotations

from huey import RedisHuey

from bench.peer import Places

from .bases import FUNCTIONS

huey = RedisHuey("bench", url=Places.from_environment().redis_url, results=False)
TASKS = {name: huey.task(name=name)(function) for name, function in FUNCTIONS.items()}
