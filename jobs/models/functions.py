"""Database functions that Django has no name for."""

from __future__ import annotations

from django.db import models
from django.db.models.expressions import Func


class IsFinite(Func):
    """Whether a moment is one: PostgreSQL's 'infinity' is none to Python, which could not read the
    row any more."""

    function = "isfinite"
    output_field = models.BooleanField()


class UUID7(Func):
    """A UUIDv7 made by PostgreSQL, for rows that other languages and triggers insert.

    `uuidv7()` exists from PostgreSQL 18 on; this is the same from older parts: a random
    UUID whose first 48 bits are the milliseconds, and whose version is set to 7.
    """

    arity = 0
    output_field = models.UUIDField()
    template = (
        "encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing "
        "substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) "
        "from 1 for 6), 52, 1), 53, 1), 'hex')::uuid"
    )
