"""Arrays as PostgreSQL reads them, for statements over hundreds of rows.

psycopg's own dumper looks at each item: a microsecond each, which is more than the rest of a
record costs.
"""

from __future__ import annotations

from collections.abc import Iterable


def of_ids(ids: Iterable[str]) -> str:
    """Of texts that need no quotes, as UUIDs do not."""
    return "{" + ",".join(ids) + "}"


def of_texts(texts: Iterable[str | None]) -> str:
    """Of any texts, and NULL for None."""
    return "{" + ",".join(["NULL" if text is None else _quoted(text) for text in texts]) + "}"


def of_moments(moments: Iterable[float]) -> str:
    """Of seconds since the epoch, as whole microseconds: what PostgreSQL keeps."""
    return "{" + ",".join([str(int(moment * 1e6 + 0.5)) for moment in moments]) + "}"


def of_marks(moments: Iterable[float]) -> str:
    """The same, and NULL for what is not after the epoch: before every job."""
    told = ["NULL" if moment <= 0 else str(int(moment * 1e6 + 0.5)) for moment in moments]
    return "{" + ",".join(told) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
