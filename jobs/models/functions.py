"""Database functions that Django has no name for."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q, Value
from django.db.models.expressions import Func
from django.db.models.functions import Greatest, Least
from django.db.models.lookups import Exact, GreaterThanOrEqual, LessThan

from jobs.bounds import FIRST_KEPT, LAST_KEPT


class IsFinite(Func):
    """Whether a moment is one: PostgreSQL's 'infinity' is none to Python, which could not read the
    row any more."""

    function = "isfinite"
    output_field = models.BooleanField()


def within_years(*names: str) -> Q:
    """The condition of a CHECK that Python can read these moments, as far as they are not NULL."""
    first, last = (names[0], names[0]) if len(names) == 1 else (Least(*names), Greatest(*names))
    return Q(GreaterThanOrEqual(_named(first), _constant(FIRST_KEPT))) & Q(
        LessThan(_named(last), _constant(LAST_KEPT))
    )


def both_or_neither(one: Q, other: Q) -> Q:
    """The condition of a CHECK that both are true or both are false, neither ever NULL.

    PostgreSQL reads and prepares each CHECK for each statement: this is half as long as what
    `(one & other) | (~one & ~other)` is made of.
    """
    return Q(Exact(_boolean(one), _boolean(other)))


def _boolean(condition: Q) -> models.ExpressionWrapper[Q]:
    return models.ExpressionWrapper(condition, output_field=models.BooleanField())


def _named(column: str | Func) -> models.F | Func:
    return models.F(column) if isinstance(column, str) else column


def _constant(moment: datetime) -> Value:
    return Value(moment, output_field=models.DateTimeField())


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
