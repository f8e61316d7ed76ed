"""Walks over rows in the order of an index, a page at a time: no offsets, no counts, and never
further than a page may take. Where a walk ends for want of time, the next one goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import OperationalError, connections, transaction
from django.db.models import Aggregate, Case, Count, F, Field, Q, QuerySet, When

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


# The columns of an order, of one row.
Place = tuple[Any, ...]


class Looked(NamedTuple):
    """What one statement has seen."""

    # Of those that match, the first.
    hits: list[Place]
    seen: int
    # Of the last row that it has seen.
    last: Place | None


class _First(Aggregate):
    """The first so many that are not NULL, in the order of the rows."""

    function = "ARRAY_AGG"
    template = "(ARRAY_REMOVE(%(function)s(%(expressions)s), NULL))[1:%(most)d]"


class _Last(Aggregate):
    """The last, in the order of the rows."""

    function = "ARRAY_AGG"
    template = "(%(function)s(%(expressions)s))[COUNT(*)]"


def walk(
    source: Source,
    *,
    after: str,
    wanted: int,
    steps: tuple[int, ...] = (),
    milliseconds: int = _PATIENCE,
) -> Found:
    """The next rows behind a place, at most so many."""
    place = _place(source, after) if after else None
    if source.matching is None:
        rows = list(_behind(source, place)[: wanted + 1])
        more = len(rows) > wanted
        return Found(rows[:wanted], _token(_place_of(source, rows[wanted - 1])) if more else "")
    return _look(source, place, wanted, steps or STEPS, milliseconds)


def _look(
    source: Source, place: Place | None, wanted: int, steps: tuple[int, ...], milliseconds: int
) -> Found:
    hits: list[Place] = []
    looked, is_cut, is_whole = 0, False, False
    try:
        with patiently(source.rows.db, milliseconds=milliseconds):
            for step in steps:
                told = _step(source, place, step, wanted + 1)
                hits += told.hits
                looked += told.seen
                place = told.last or place
                is_whole = told.seen < step
                if is_whole or len(hits) > wanted:
                    break
    except OperationalError:
        is_cut = True
    # What has moved on meanwhile is not there any more.
    found = list(
        source.rows.filter(pk__in=[hit[-1] for hit in hits[:wanted]]).order_by(*source.order)
    )
    if len(hits) > wanted:
        return Found(found, _token(hits[wanted - 1]))
    if is_whole:
        return Found(found, "")
    token = "" if place is None else _token(place)
    return Found(found, token, looked, _moment(source, place), is_cut)


def _step(source: Source, place: Place | None, step: int, most: int) -> Looked:
    """One statement tells all: what it has seen may be gone a moment later."""
    names = [field.removeprefix("-") for field in source.order]
    told = (
        _behind(source, place)
        .annotate(
            **{
                f"hit_{i}": Case(When(source.matching, then=F(name)), default=None)
                for i, name in enumerate(names)
            }
        )[:step]
        .aggregate(
            count=Count("pk"),
            **{
                f"hits_{i}": _First(f"hit_{i}", most=most, output_field=_list_of(source, name))
                for i, name in enumerate(names)
            },
            **{f"last_{i}": _Last(name) for i, name in enumerate(names)},
        )
    )
    columns = [told[f"hits_{i}"] or [] for i in range(len(names))]
    last = tuple(told[f"last_{i}"] for i in range(len(names)))
    return Looked(list(zip(*columns, strict=True)), told["count"], last if told["count"] else None)


def _list_of(source: Source, name: str) -> Field[Any, Any]:
    return ArrayField(_field(source, name))


@contextmanager
def patiently(alias: str, *, milliseconds: int = _PATIENCE, scans: bool = False) -> Iterator[None]:
    """Statements in here take so long at most (OperationalError); unless `scans`, they walk along
    an index. Whatever transaction is around it goes on as it was."""
    wrapper = connections[alias]
    wanted = {
        "statement_timeout": str(milliseconds),
        "jit": "off",
        "enable_seqscan": "on" if scans else "off",
        "enable_bitmapscan": "on" if scans else "off",
    }
    is_within = wrapper.in_atomic_block
    before = _settings(wrapper, dict.fromkeys(wanted)) if is_within else {}
    with transaction.atomic(using=alias):
        _settings(wrapper, wanted)
        yield
    if is_within:
        # The end of a savepoint does not undo them, unless it was rolled back.
        _settings(wrapper, before)


def _settings(wrapper: Any, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Set these until the transaction ends; None: only tell it. As they are then."""
    parts = [
        "current_setting(%s)" if value is None else "set_config(%s, %s, true)"
        for value in wanted.values()
    ]
    parameters = [
        part for name, value in wanted.items() for part in (name, value) if part is not None
    ]
    with wrapper.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", parameters)
        return dict(zip(wanted, cursor.fetchone(), strict=True))


def estimate(rows: QuerySet[Any]) -> int:
    """About how many there are, as the planner thinks."""
    told = rows.explain(format="json")
    # Of what nothing can match there is no plan.
    return int(json.loads(told)[0]["Plan"]["Plan Rows"]) if told else 0


def _behind(source: Source, place: Place | None) -> QuerySet[Any]:
    """What comes after, in that order: first this, then that is greater, or less."""
    rows = source.rows.order_by(*source.order)
    if place is None:
        return rows
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
    return rows.filter(Q(**{lookup: place[0]}) & found)


def _place_of(source: Source, row: Any) -> Place:
    return tuple(getattr(row, field.removeprefix("-")) for field in source.order)


def _moment(source: Source, place: Place | None) -> datetime | None:
    """When that row was enqueued, if its id tells: SQL may have given it any."""
    if place is None or not isinstance(place[0], UUID):
        return None
    try:
        return ids.moment_of(place[0])
    except (ValueError, OverflowError):
        return None


def _token(place: Place) -> str:
    return _GLUE.join(
        value.isoformat() if isinstance(value, datetime) else str(value) for value in place
    )


def _place(source: Source, token: str) -> Place:
    names = [field.removeprefix("-") for field in source.order]
    # Queues may be called anything: the other parts hold none of this.
    parts = token.rsplit(_GLUE, len(names) - 1)
    try:
        return tuple(
            _read(_field(source, name), part) for name, part in zip(names, parts, strict=True)
        )
    except (ValidationError, ValueError, OverflowError) as error:
        raise IncorrectLookupParameters(error) from None


def _read(field: Field[Any, Any], text: str) -> Any:
    value = field.to_python(text)
    if "\0" in text or value is None:
        raise ValueError(text)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(text)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    return value


def _field(source: Source, name: str) -> Field[Any, Any]:
    field: Field[Any, Any] = source.rows.model._meta.get_field(name)
    return field
