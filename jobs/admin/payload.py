"""What people may see of arguments: not what a task calls sensitive."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from jobs.errors import JobsError
from jobs.tasks import resolve

HIDDEN = "••••••"
# A longer text is folded, in characters.
_LONG = 2_000


def may_view_payload(request: HttpRequest) -> bool:
    return request.user.has_perm("jobs.view_payload")


def pretty(value: Any) -> SafeString:
    """JSON as people read it; what is long is folded."""
    return folded("–" if value is None else json.dumps(value, indent=2, ensure_ascii=False))


def folded(text: str) -> SafeString:
    """A text as it stands, folded if it is long."""
    whole = format_html('<pre class="jobs-payload">{}</pre>', text)
    if len(text) <= _LONG:
        return whole
    told = gettext("%(count)s characters") % {"count": f"{len(text):,}"}
    return format_html("<details><summary>{} · {}…</summary>{}</details>", told, text[:80], whole)


def shape(arguments: Any) -> dict[str, Any]:
    """The arguments of a row, in the shape that they should have: SQL may have put anything."""
    kept = arguments if isinstance(arguments, Mapping) else {}
    args, kwargs = kept.get("args"), kept.get("kwargs")
    return {
        "args": args if isinstance(args, list) else [],
        "kwargs": kwargs if isinstance(kwargs, dict) else {},
    }


def without_sensitive(task_name: str, arguments: Any) -> dict[str, Any]:
    """The arguments, but for those that the task calls sensitive. Unknown task: none at all."""
    kept = shape(arguments)
    args, kwargs = kept["args"], kept["kwargs"]
    try:
        task = resolve(task_name)
    except (JobsError, ImportError):
        return {"args": [HIDDEN] * len(args), "kwargs": dict.fromkeys(kwargs, HIDDEN)}
    names, known = task.argument_names, task.signature.parameters
    # *rest and **more, if the task has them.
    variable = {one.kind: one.name for one in known.values()}
    rest = variable.get(inspect.Parameter.VAR_POSITIONAL)
    more = variable.get(inspect.Parameter.VAR_KEYWORD)

    def is_hidden(name: str | None) -> bool:
        return name is not None and task.is_sensitive(name)

    return {
        "args": [
            HIDDEN if is_hidden(names[i] if i < len(names) else rest) else value
            for i, value in enumerate(args)
        ],
        "kwargs": {
            name: HIDDEN
            if name in task.sensitive or is_hidden(name if name in known else more)
            else value
            for name, value in kwargs.items()
        },
    }


def with_kept(typed: Any, shown: Any, kept: Any) -> Any:
    """What somebody sends back, with what was hidden from them as it was kept: where it stood, and
    nowhere else. ValueError for a mark that hides nothing."""
    places: Any = range(len(typed)) if isinstance(typed, list) else list(typed)
    made = list(typed) if isinstance(typed, list) else dict(typed)
    is_moved = isinstance(typed, list) and len(typed) != len(kept)
    for place in places:
        if typed[place] != HIDDEN:
            continue
        was_there = place < len(kept) if isinstance(typed, list) else place in kept
        if is_moved or not was_there or shown[place] != HIDDEN:
            raise ValueError(f"{HIDDEN} stands for nothing here: type the value itself")
        made[place] = kept[place]
    return made
