"""Numbers and durations as one reads them at a glance."""

from __future__ import annotations

from django.utils.formats import number_format
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

# Counting stops there.
MOST = 10_000


def breakable(name: str) -> SafeString:
    """A dotted name that a narrow column may break where a reader would."""
    return mark_safe(escape(name).replace(".", ".<wbr>").replace("_", "_<wbr>"))  # noqa: S308


def capped(count: int) -> str:
    """Nobody tells ten thousand from more."""
    return f"{whole(MOST)}+" if count > MOST else whole(count)


def whole(count: int) -> str:
    return number_format(count, force_grouping=True)


def briefly(seconds: float) -> str:
    """A duration as one reads it at a glance."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{number_format(seconds, 1)} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def at_pace(pace: float) -> str:
    """Jobs in a second, or in a minute; empty: none."""
    if not pace:
        return ""
    if pace >= 1:
        return f"{number_format(pace, 0 if pace >= 10 else 1)} /s"
    return f"{number_format(pace * 60, 1)} /min"
