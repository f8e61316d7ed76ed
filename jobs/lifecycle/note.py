"""Note: what a running job keeps of itself for its next attempt; its state stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import connections

from jobs import codec
from jobs.errors import InvalidTransition

from .statements import statement


def note(id_: UUID, attempt: int, noted: Mapping[str, Any], *, using: str) -> None:
    """Put it into the job's metadata, in the caller's transaction: with what it is a note of.

    InvalidTransition where the attempt is not the one that runs: somebody else has it by now. The
    row stays locked, so two attempts never do what is noted at once.
    """
    parameters: dict[str, Any] = {"id": id_, "attempt": attempt, "noted": codec.dumps(noted)}
    with connections[using].cursor() as cursor:
        cursor.execute(statement("note"), parameters)
        if not cursor.rowcount:
            raise InvalidTransition(f"attempt {attempt} of job {id_} runs no more")
