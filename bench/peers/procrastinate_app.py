"""Procrastinate's app and tasks."""

from __future__ import annotations

from procrastinate import App, PsycopgConnector

from bench.peer import Places

from .bases import COROUTINES

app = App(connector=PsycopgConnector(conninfo=Places.from_environment().database.url))
TASKS = {name: app.task(name=name)(coroutine) for name, coroutine in COROUTINES.items()}
