"""What attempts have logged, as one reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from jobs.models import AttemptLog, Job

# As jobs.execution.logs writes them.
_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([A-Z]+) ([^:\n]+): ")


@dataclass(frozen=True, slots=True)
class Shown:
    # How many lines there were, those that are left out among them.
    count: int
    lines: SafeString
    is_open: bool = False


def of(job: Job[Any]) -> dict[int, AttemptLog]:
    """Those that are kept, by attempt. One query."""
    found = AttemptLog.objects.using(job._state.db).filter(job_id=job.pk).order_by("attempt")
    return {log.attempt: log for log in found}


def shown(log: AttemptLog | None, *, is_open: bool = False) -> Shown | None:
    if log is None:
        return None
    lines = format_html_join("", "{}", ((line,) for line in _records(log.text)))
    return Shown(log.lines, lines, is_open)


def _records(text: str) -> Iterator[SafeString]:
    """Each record in an element of its own, however many lines it has."""
    rows: list[str] = []
    for row in text.split("\n"):
        if rows and (_LINE.match(row) or row.startswith("…")):
            yield _record("\n".join(rows))
            rows = []
        rows.append(row)
    yield _record("\n".join(rows))


def _record(text: str) -> SafeString:
    found = _LINE.match(text)
    if found is None:
        return format_html("<span>{}</span>", text)
    try:
        moment = datetime.fromisoformat(found[1])
        at = f"{localtime(moment):%H:%M:%S}"
    except (ValueError, OverflowError):
        # What a task has logged may look like anything.
        return format_html("<span>{}</span>", text)
    return format_html(
        '<span class="jobs-log-{}"><time datetime="{}">{}</time> {} {}: {}</span>',
        found[2], found[1], at, found[2], found[3],
        text[found.end():],
    )  # fmt: skip
