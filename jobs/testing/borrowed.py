"""The test's own connection, in the place of a worker's."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg
from django.db import connections, transaction
from psycopg.types.string import TextLoader


class Borrowed:
    """Django's connection, as the statements of workers and beats want one: results as text."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._loaders: dict[str, type[Any]] = {"uuid": TextLoader, "jsonb": TextLoader}

    @property
    def adapters(self) -> Borrowed:
        return self

    def register_loader(self, name: str, loader: type[Any]) -> None:
        self._loaders[name] = loader

    @property
    def closed(self) -> bool:
        raw = connections[self._alias].connection
        return raw is not None and raw.closed

    @property
    def info(self) -> Any:
        return connections[self._alias].connection.info

    def execute(self, query: Any, parameters: Any = None) -> psycopg.Cursor[Any]:
        # Asked each time: a task may have closed it.
        connections[self._alias].ensure_connection()
        cursor = psycopg.Cursor(connections[self._alias].connection)
        for name, loader in self._loaders.items():
            cursor.adapters.register_loader(name, loader)
        return cursor.execute(query, parameters, prepare=False)

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        return transaction.atomic(using=self._alias)
