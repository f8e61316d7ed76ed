"""Model instances that stand in arguments and results by their key."""

from __future__ import annotations

from typing import Any

from django.apps import apps


def load(label: str, key: Any, database: str | None = None) -> Any:
    """Return the instance, read from that database (None: where its router reads).

    Raises its model's DoesNotExist when it is gone.
    """
    manager = apps.get_model(label)._base_manager
    return (manager if database is None else manager.using(database)).get(pk=key)
