"""Charts, drawn as SVG: no script, no inline style, in the theme's own colours (see admin.css).

Not a library's: those that draw on the server put a <style> into each picture, which a content
security policy refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext

# (class, label)
Kinds = Sequence[tuple[str, Any]]

WIDTH, HEIGHT = 480, 120
# For the numbers beside it and the times below.
_LEFT, _BOTTOM, _TOP = 44, 18, 6


def stacked(
    title: str,
    kinds: Kinds,
    columns: Sequence[dict[str, int]],
    moments: Sequence[datetime],
    unit: str,
) -> SafeString:
    """Bars, one for each column; `kinds` are (class, label), from the foot up."""
    most = max((sum(column.values()) for column in columns), default=0)
    scale = _Scale(most, len(columns))
    drawn = []
    for i, (column, moment) in enumerate(zip(columns, moments, strict=True)):
        foot = scale.y(0)
        told = ", ".join(f"{column[kind]:,} {label}" for kind, label in kinds if column.get(kind))
        for kind, _ in kinds:
            count = column.get(kind, 0)
            if count:
                height = max(1.0, scale.y(0) - scale.y(count))
                foot -= height
                drawn.append(
                    (
                        kind,
                        f"{scale.x(i):.1f}",
                        f"{foot:.1f}",
                        f"{scale.width * 0.85:.1f}",
                        f"{height:.1f}",
                        f"{_told(moment)}: {told}",
                    )
                )
    bars = format_html_join(
        "",
        '<rect class="jobs-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
        drawn,
    )
    return _framed(title, bars, scale, most, moments, unit, kinds)


def lines(
    title: str,
    kinds: Kinds,
    columns: Sequence[dict[str, float | None]],
    moments: Sequence[datetime],
    unit: str,
) -> SafeString:
    """A line for each kind; None: a gap."""
    values = [value for column in columns for value in column.values() if value is not None]
    most = max(values, default=0.0)
    scale = _Scale(most, len(columns))
    paths = []
    for kind, _ in kinds:
        steps, pen_is_up = [], True
        for i, column in enumerate(columns):
            value = column.get(kind)
            if value is None:
                pen_is_up = True
                continue
            verb = "M" if pen_is_up else "L"
            steps.append(f"{verb}{scale.x(i) + scale.width / 2:.1f} {scale.y(value):.1f}")
            if pen_is_up:
                # Alone it would not be seen.
                steps.append("h0.1")
            pen_is_up = False
        if steps:
            paths.append((kind, " ".join(steps)))
    drawn = format_html_join("", '<path class="jobs-line jobs-{}" d="{}"></path>', paths)
    return _framed(title, drawn, scale, most, moments, unit, kinds)


class _Scale:
    def __init__(self, most: float, columns: int) -> None:
        self._most = most or 1
        self.width = (WIDTH - _LEFT) / max(1, columns)

    def x(self, place: int) -> float:
        return _LEFT + place * self.width

    def y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * value / self._most


def _framed(
    title: str,
    drawn: SafeString,
    scale: _Scale,
    most: float,
    moments: Sequence[datetime],
    unit: str,
    kinds: Kinds,
) -> SafeString:
    foot = scale.y(0)
    ticks = format_html_join(
        "",
        '<text class="jobs-axis" x="{}" y="{}">{}</text>',
        (
            (f"{scale.x(i):.0f}", HEIGHT - 4, _told(moments[i]))
            for i in range(0, len(moments), max(1, len(moments) // 4))
        ),
    )
    key = format_html_join(
        " ", '<span class="jobs-key jobs-{}">{}</span>', ((kind, label) for kind, label in kinds)
    )
    highest = f"{shortly(most)}{unit}"
    told = gettext("%(title)s: %(most)s at most") % {"title": title, "most": highest}
    return format_html(
        '<figure class="jobs-chart"><figcaption>{} {}</figcaption>'
        '<svg role="img" aria-label="{}" viewBox="0 0 {} {}">'
        '<line class="jobs-axis-line" x1="{}" y1="{}" x2="{}" y2="{}"></line>'
        '<text class="jobs-axis jobs-axis-y" x="{}" y="{}">{}</text>'
        '<text class="jobs-axis jobs-axis-y" x="{}" y="{}">0</text>{}{}</svg></figure>',
        title, key, told, WIDTH, HEIGHT, _LEFT, foot, WIDTH, foot,
        _LEFT - 4, _TOP + 8, highest, _LEFT - 4, foot, ticks, drawn,
    )  # fmt: skip


def shortly(value: float) -> str:
    """A number in few characters."""
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    if value >= 10 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2g}"


def _told(moment: datetime) -> str:
    local = localtime(moment)
    today = localtime().date()
    return date_format(local, "H:i" if local.date() == today else "D H:i")
