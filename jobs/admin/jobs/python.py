"""A job as the line of Python that enqueues one like it."""

from __future__ import annotations

from typing import Any

from jobs.codec import TAG
from jobs.models import Job

from ..payload import without_sensitive

_MODULES = {
    "datetime": "from datetime import datetime",
    "date": "from datetime import date",
    "time": "from datetime import time",
    "timedelta": "from datetime import timedelta",
    "decimal": "from decimal import Decimal",
    "uuid": "from uuid import UUID",
    "bytes": "from base64 import b64decode",
    "model": "from django.apps import apps",
}
# What is called with the text that is kept.
_CALLS = {
    "float": "float",
    "date": "date.fromisoformat",
    "decimal": "Decimal",
    "uuid": "UUID",
    "bytes": "b64decode",
}


def call(job: Job[Any]) -> str:
    """The call that it is: "charge(7, amount=Decimal('1.10'))"."""
    return f"{job.task.rpartition('.')[2]}({', '.join(_parts(job, set()))})"


def as_python(job: Job[Any]) -> str:
    """What is sensitive is left out, and has to be filled in."""
    imports: set[str] = set()
    module, _, name = job.task.rpartition(".")
    parts = [name or job.task, *_parts(job, imports)]
    lines = [*sorted(imports), "from jobs import enqueue"]
    if module:
        lines.append(f"from {module} import {name}")
    return "\n".join([*lines, "", f"enqueue({', '.join(parts)})"])


def _parts(job: Job[Any], imports: set[str]) -> list[str]:
    told = without_sensitive(job.task, job.arguments)
    parts = [_said(value, imports) for value in told["args"]]
    return parts + [f"{key}={_said(value, imports)}" for key, value in told["kwargs"].items()]


def _said(value: Any, imports: set[str]) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_said(item, imports) for item in value)}]"
    if not isinstance(value, dict):
        return repr(value)
    if TAG not in value:
        items = (f"{key!r}: {_said(item, imports)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    try:
        kind, kept = value[TAG]
        said = _tagged(kind, kept, imports)
    except (TypeError, ValueError, LookupError):
        # SQL may have put anything there.
        return repr(value)
    if kind in _MODULES:
        imports.add(_MODULES[kind])
    return said


def _tagged(kind: str, kept: Any, imports: set[str]) -> str:
    match kind:
        case "datetime":
            return _moment(kept, imports)
        case "time":
            return f"time.fromisoformat({kept[0]!r})" + (".replace(fold=1)" if kept[1] else "")
        case "timedelta":
            return f"timedelta({', '.join(map(repr, kept))})"
        case "model":
            label, key = kept
            return f"apps.get_model({label!r}).objects.get(pk={_said(key, imports)})"
        case "dict":
            pairs = (f"{_said(k, imports)}: {_said(v, imports)}" for k, v in kept)
            return f"{{{', '.join(pairs)}}}"
        case "tuple" | "set" | "frozenset":
            return f"{kind}({_said(kept, imports)})"
    return f"{_CALLS[kind]}({kept!r})"


def _moment(kept: list[Any], imports: set[str]) -> str:
    text, zone, fold = kept
    changes = ["fold=1"] if fold else []
    if zone:
        imports.add("from zoneinfo import ZoneInfo")
        changes.append(f"tzinfo=ZoneInfo({zone!r})")
    replaced = f".replace({', '.join(changes)})" if changes else ""
    return f"datetime.fromisoformat({text!r}){replaced}"
