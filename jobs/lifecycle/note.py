"""Note: what a running job keeps of itself for its next attempt; its state stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import connections

from jobs import codec

from .statements import statement


def note(id_: UUID, noted: Mapping[str, Any], *, using: str) -> None:
    """Put it into the job's metadata, in the caller's transaction: with what it is a note of."""
    parameters: dict[str, Any] = {"id": id_, "noted": codec.dumps(noted)}
    with connections[using].cursor() as cursor:
        cursor.execute(statement("note"), parameters)
