"""Charts, drawn on the server as SVG by pygal: no script and no style inside, which a content
security policy would refuse, but classes, which have the theme's own colours (see admin.css).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from typing import Any, TypeAlias
from xml.etree.ElementTree import Element

from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import localtime
from django.utils.translation import gettext

from ..words import whole

# (class, label)
Kinds = Sequence[tuple[str, Any]]
Chart: TypeAlias = Any

_WIDTH, _HEIGHT = 480, 150
# Of what pygal draws: what would style and script, and what only its script reads.
_REMOVED = {"style", "script", "defs", "desc"}
_PLACES = ("x", "y", "width", "height", "d", "cx", "cy")
_DIGITS = re.compile(r"(\.\d)\d+")


def stacked(
    title: str,
    kinds: Kinds,
    columns: Sequence[dict[str, int]],
    moments: Sequence[datetime],
    unit: str,
) -> SafeString:
    """Bars, one for each column; `kinds` are (class, label), from the foot up."""
    told = [
        f"{_told(moment)}: "
        + ", ".join(f"{column[kind]:,} {label}" for kind, label in kinds if column.get(kind))
        for column, moment in zip(columns, moments, strict=True)
    ]
    most = max((sum(column.values()) for column in columns), default=0)
    return _drawn(
        _pygal().StackedBar,
        title,
        kinds,
        lambda kind: [
            {"value": column[kind], "tooltip": words} if column.get(kind) else None
            for column, words in zip(columns, told, strict=True)
        ],
        moments,
        unit,
        float(most),
    )


def lines(
    title: str,
    kinds: Kinds,
    columns: Sequence[dict[str, float | None]],
    moments: Sequence[datetime],
    unit: str,
) -> SafeString:
    """A line for each kind; None: a gap."""
    return _drawn(
        _pygal().Line,
        title,
        kinds,
        lambda kind: _points([column.get(kind) for column in columns], moments, unit),
        moments,
        unit,
        max((value for column in columns for value in column.values() if value), default=0.0),
    )


def _points(
    values: Sequence[float | None], moments: Sequence[datetime], unit: str
) -> list[dict[str, Any] | None]:
    """One without a neighbour is seen by its dot, for want of a line."""
    around = [None, *values, None]
    return [
        None
        if value is None
        else {
            "value": value,
            "tooltip": f"{_told(moment)}: {shortly(value)}{unit}",
            "node": {"class": "dot" if before is not None or after is not None else "jobs-lone"},
        }
        for value, moment, before, after in zip(values, moments, around, around[2:], strict=False)
    ]


def _drawn(
    kind_of: Callable[..., Chart],
    title: str,
    kinds: Kinds,
    values: Callable[[str], list[dict[str, Any] | None]],
    moments: Sequence[datetime],
    unit: str,
    most: float,
) -> SafeString:
    chart = kind_of(
        width=_WIDTH,
        height=_HEIGHT,
        margin=2,
        margin_right=14,
        margin_bottom=8,
        spacing=2,
        css=(),
        js=(),
        no_prefix=True,
        disable_xml_declaration=True,
        classes=("jobs-picture",),
        show_legend=False,
        no_data_text="–",
        range=(0, most or 1),
        min_scale=2,
        max_scale=4,
        value_formatter=lambda value: f"{shortly(value)}{unit}",
        x_labels=[_told(moment) for moment in moments],
        x_labels_major_every=max(1, len(moments) // 4),
        show_minor_x_labels=False,
        truncate_label=-1,
        dots_size=3,
        allow_interruptions=True,
    )
    drawn = []
    for kind, label in kinds:
        if any(of := values(kind)):
            chart.add(str(label), of)
            drawn.append(kind)
    highest = f"{shortly(most)}{unit}"
    told = gettext("%(title)s: %(most)s at most") % {"title": title, "most": highest}
    chart.add_xml_filter(lambda root: _bare(root, told, drawn))
    key = format_html_join(
        " ", '<span class="jobs-key jobs-{}">{}</span>', ((kind, label) for kind, label in kinds)
    )
    return format_html(
        '<figure class="jobs-chart"><figcaption>{} {}</figcaption>{}</figure>',
        title,
        key,
        # Its texts are escaped.
        mark_safe(chart.render(is_unicode=True)),  # noqa: S308
    )


def _pygal() -> Any:
    """Imported when something is first drawn: workers load the admin, too."""
    import pygal

    if not hasattr(pygal.PluginImportFixer, "find_spec"):
        # Without it Python 3.11 warns at each import that follows.
        pygal.PluginImportFixer.find_spec = _find_spec
    return pygal


def _find_spec(finder: Any, name: str, *_: Any) -> ModuleSpec | None:
    return spec_from_loader(name, finder) if finder.find_module(name) else None


def _bare(root: Element, told: str, kinds: Sequence[str]) -> Element:
    """What is left for a page: shapes and texts, with our classes, and what to say of it."""
    _prune(root)
    for title in root.findall("title"):
        root.remove(title)
    root.attrib.pop("id", None)
    root.set("role", "img")
    root.set("aria-label", told)
    for node in root.iter():
        name = node.get("class", "")
        if name.startswith("series serie-"):
            number = int(name.removeprefix("series serie-").partition(" ")[0])
            node.set("class", f"jobs-series jobs-{kinds[number]}")
        for place in _PLACES:
            if place in node.attrib:
                node.set(place, _DIGITS.sub(r"\1", node.attrib[place]))
    return root


def _prune(node: Element) -> None:
    for child in list(node):
        if isinstance(child.tag, str):
            _prune(child)
        if _is_superfluous(child):
            node.remove(child)


def _is_superfluous(node: Element) -> bool:
    # A comment's tag is a function.
    if not isinstance(node.tag, str) or node.tag in _REMOVED:
        return True
    name = node.get("class", "")
    if name == "bar":
        # Of nothing.
        return node.find("title") is None
    return node.tag == "g" and (not len(node) or "tooltip" in name)


def shortly(value: float) -> str:
    """A number in few characters."""
    if value >= 10_000:
        return f"{round(value / 1000)}k"
    if value >= 10 or value == int(value):
        return whole(round(value))
    return f"{value:.2g}"


def _told(moment: datetime) -> str:
    local = localtime(moment)
    today = localtime().date()
    return date_format(local, "H:i" if local.date() == today else "D H:i")
