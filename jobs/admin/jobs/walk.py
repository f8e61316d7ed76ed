"""Walks over rows in the order of an index, a page at a time: no offsets, no counts, and never
further than a page may take. Where a walk ends for want of time, the next one goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.postgres.aggregates import ArrayAgg
from django.core.exceptions import ValidationError
from django.db import OperationalError, connections, transaction
from django.db.models import Case, Count, Q, QuerySet, When

from jobs import ids

from .asked import Source

# So many rows are looked at for what is rare, at first and then.
STEPS = (2_000, 60_000)
# A statement's patience, in milliseconds.
_PATIENCE = 2_000
# Between the parts of a place in an address.
_GLUE = "~"


class Found(NamedTuple):
    rows: list[Any]
    # From where on there may be more; empty: this is all.
    after: str
    # How many rows were looked at, if not all that there are; None: all, or as many as are shown.
    looked: int | None = None
    # When the last one of them was enqueued, where they come in that order.
    back_to: datetime | None = None
    # Whether a statement had to be cut off.
    is_cut: bool = False


def walk(source: Source, *, after: str, wanted: int, steps: tuple[int, ...] = ()) -> Found:
    """The next rows behind a place, at most so many."""
    rows = source.rows.order_by(*source.order)
    if after:
        rows = rows.filter(_behind(source, _place(source, after)))
    if source.matching is None:
        found = list(rows[: wanted + 1])
        more = len(found) > wanted
        return Found(found[:wanted], _token(source, found[wanted - 1]) if more else "")
    return _look(source, rows, wanted, steps or STEPS)


def _look(source: Source, rows: QuerySet[Any], wanted: int, steps: tuple[int, ...]) -> Found:
    hits: list[Any] = []
    looked, is_cut, is_whole = 0, False, False
    marked = rows.annotate(is_hit=Case(When(source.matching, then=True), default=False))
    for step in steps:
        try:
            with patiently(rows.db):
                told = marked[looked : looked + step].aggregate(
                    hits=ArrayAgg("pk", filter=Q(is_hit=True)), looked=Count("pk")
                )
        except OperationalError:
            is_cut = True
            break
        hits += told["hits"] or []
        looked += told["looked"]
        is_whole = told["looked"] < step
        if is_whole or len(hits) > wanted:
            break
    # What has moved on meanwhile is not there any more.
    found = list(source.rows.filter(pk__in=hits[:wanted]).order_by(*source.order))
    if len(hits) > wanted and found:
        return Found(found, _token(source, found[-1]))
    if is_whole:
        return Found(found, "")
    last = list(rows[looked - 1 : looked]) if looked else []
    if not last:
        return Found(found, "", looked, is_cut=is_cut)
    back_to = ids.moment_of(last[0].pk) if isinstance(last[0].pk, UUID) else None
    return Found(found, _token(source, last[0]), looked, back_to, is_cut)


@contextmanager
def patiently(alias: str, *, milliseconds: int = _PATIENCE) -> Iterator[None]:
    """Statements in here walk along an index, and for so long at most (OperationalError)."""
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true), set_config('jit', 'off', true),"
            " set_config('enable_seqscan', 'off', true),"
            " set_config('enable_bitmapscan', 'off', true)",
            [str(milliseconds)],
        )
        yield


def estimate(rows: QuerySet[Any]) -> int:
    """About how many there are, as the planner thinks."""
    (plan,) = json.loads(rows.explain(format="json"))
    return int(plan["Plan"]["Plan Rows"])


def _behind(source: Source, place: list[Any]) -> Q:
    """What comes after, in that order: first this, then that is greater, or less."""
    found = Q()
    same: dict[str, Any] = {}
    for field, value in zip(source.order, place, strict=True):
        name = field.removeprefix("-")
        beyond = f"{name}__lt" if field.startswith("-") else f"{name}__gt"
        found |= Q(**same, **{beyond: value})
        same[name] = value
    first = source.order[0]
    # For the index: without it, it would be read from its beginning.
    lookup = f"{first.removeprefix('-')}__{'lte' if first.startswith('-') else 'gte'}"
    return Q(**{lookup: place[0]}) & found


def _token(source: Source, row: Any) -> str:
    values = [getattr(row, field.removeprefix("-")) for field in source.order]
    return _GLUE.join(
        value.isoformat() if isinstance(value, datetime) else str(value) for value in values
    )


def _place(source: Source, token: str) -> list[Any]:
    names = [field.removeprefix("-") for field in source.order]
    # Queues may be called anything: the other parts hold none of this.
    parts = token.rsplit(_GLUE, len(names) - 1)
    fields = [source.rows.model._meta.get_field(name) for name in names]
    try:
        return [field.to_python(part) for field, part in zip(fields, parts, strict=True)]
    except (ValidationError, ValueError) as error:
        raise IncorrectLookupParameters(error) from None
