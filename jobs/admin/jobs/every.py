"""All jobs that match, and were there when a page was shown: what is done to them, a part at a
time, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.utils.translation import gettext

from jobs.models import FINAL, Attempt, Job

from .again import changed_names
from .listing import JobChangeList
from .verbs import Verb
from .walk import walk

# So many in one transaction; and of all that match, so many rows are looked at by one statement.
PART = 1_000
_STEPS = (20_000,)


class Part(NamedTuple):
    ids: list[UUID]
    # From where on there may be more; empty: this was the last.
    after: str
    # Whether a statement took too long.
    is_cut: bool


def parts(
    listed: JobChangeList,
    verb: Verb,
    said: dict[str, Any],
    seen_at: datetime,
    *,
    after: str = "",
    milliseconds: int = 2_000,
) -> Iterator[Part]:
    """What matches, and was there when the page was shown, from a place on."""
    source = listed.source
    wanted = as_seen(verb, seen_at, source.prefix)
    if verb.sets:
        # What is done already may come again, further down in the order.
        wanted &= ~Q(**{f"{source.prefix}{name}": said[name] for name in verb.sets})
    if source.matching is not None:
        wanted &= source.matching
    source = source._replace(matching=wanted)
    while True:
        found = walk(source, after=after, wanted=PART, steps=_STEPS, milliseconds=milliseconds)
        ids = [row.job_id if isinstance(row, Attempt) else row.pk for row in found.rows]
        yield Part(ids, found.after, found.is_cut)
        if not found.after:
            return
        after = found.after


def do(listed: JobChangeList, verb: Verb, part: Part, by: str, said: dict[str, Any]) -> int:
    """Do it to a part; to how many it was done."""
    # What the page has counted, and nothing else.
    counted = listed.queryset.order_by().filter(pk__in=part.ids).values_list("pk", flat=True)
    return len(verb.do(list(counted), by, said))


def as_seen(verb: Verb, seen_at: datetime, prefix: str = "") -> Q:
    """Those that were there when the page was shown, and whose state allows it now; what has ended
    must have ended by then."""
    wanted = {"state__in": verb.states, "enqueued_at__lte": seen_at}
    if set(verb.states) <= set(FINAL):
        wanted["finished_at__lte"] = seen_at
    return Q(**{f"{prefix}{name}": value for name, value in wanted.items()})


def write_down(
    user_id: int,
    listed: JobChangeList,
    verb: Verb,
    said: dict[str, Any],
    count: int | None,
    more: str = "",
) -> None:
    """One entry of the log says all of it; None: nobody knows yet to how many."""
    what = more if count is None else f"{count:,} jobs that matched."
    chosen = ", ".join(f"{what}: {which}" for what, which in listed.chosen)
    LogEntry.objects.create(
        user_id=user_id,
        content_type=ContentType.objects.get_for_model(Job),
        object_repr=(chosen or gettext("all jobs"))[:200],
        action_flag=DELETION if verb.name == "remove" else CHANGE,
        change_message=f"{verb.name}: {what} {told(said)}".strip(),
    )


def told(said: dict[str, Any]) -> str:
    """What was said beside the verb; of arguments only which are changed: it stays in the log."""
    if names := changed_names(said):
        return f"with another {', '.join(names)}"
    return ", ".join(f"{name}={value}" for name, value in said.items() if value not in (None, ""))
