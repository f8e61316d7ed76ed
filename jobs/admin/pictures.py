"""Small pictures, drawn as SVG: no script, no style, in the theme's own colours."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

_WIDTH, _GAP, _HEIGHT = 4, 1, 24


def bars(columns: Sequence[tuple[int, int]], title: str) -> SafeString:
    """A bar for each column: (good, bad), bad ones at the foot."""
    most = max((good + bad for good, bad in columns), default=0) or 1
    drawn = []
    for i, (good, bad) in enumerate(columns):
        foot = _HEIGHT
        for count, kind in ((bad, "bad"), (good, "good")):
            if count:
                # However few: to be seen.
                height = max(2, round(count * _HEIGHT / most))
                foot -= height
                drawn.append((kind, i * (_WIDTH + _GAP), max(0, foot), _WIDTH, height))
    whole = len(columns) * (_WIDTH + _GAP)
    rects = format_html_join(
        "", '<rect class="jobs-{}" x="{}" y="{}" width="{}" height="{}"></rect>', drawn
    )
    return format_html(
        '<svg class="jobs-bars" role="img" aria-label="{}" width="{}" height="{}" '
        'viewBox="0 0 {} {}"><title>{}</title>{}</svg>',
        title, whole, _HEIGHT, whole, _HEIGHT, title, rects,
    )  # fmt: skip
