"""Small pictures, drawn as SVG: no script, no style, in the theme's own colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from jobs.models import State

_WIDTH, _GAP, _HEIGHT = 4, 1, 24


class Column(NamedTuple):
    """How many jobs have failed, have succeeded, and are neither: cancelled, or yet to end."""

    bad: int = 0
    good: int = 0
    other: int = 0

    def plus(self, state: str, count: int) -> Column:
        if state == State.FAILED:
            return self._replace(bad=self.bad + count)
        if state == State.SUCCEEDED:
            return self._replace(good=self.good + count)
        return self._replace(other=self.other + count)


class Life(NamedTuple):
    """One job: how it ended, how long it ran (None: it has not), what to say of it, and where."""

    kind: str
    seconds: float | None
    words: str
    url: str
    is_this: bool = False


def lives(jobs: Sequence[Life], title: str) -> SafeString:
    """A bar for each job, as high as it ran long, in the colour of its state."""
    most = max((life.seconds or 0.0 for life in jobs), default=0.0) or 1.0
    width, gap, height = 14, 3, 60
    drawn = []
    for i, life in enumerate(jobs):
        tall = max(3, round((life.seconds or 0.0) * height / most))
        kind = f"{life.kind} jobs-this" if life.is_this else life.kind
        x = i * (width + gap)
        drawn.append((life.url, life.words, kind, x, height - tall, width, tall, life.words))
    bars_ = format_html_join(
        "",
        '<a href="{}" aria-label="{}"><rect class="jobs-life jobs-{}" x="{}" y="{}" '
        'width="{}" height="{}"><title>{}</title></rect></a>',
        drawn,
    )
    whole = max(1, len(jobs) * (width + gap))
    return format_html(
        '<svg class="jobs-lives" role="group" aria-label="{}" width="{}" height="{}" '
        'viewBox="0 0 {} {}">{}</svg>',
        title, whole, height, whole, height, bars_,
    )  # fmt: skip


def bars(columns: Sequence[Column], title: str) -> SafeString:
    """A bar for each column, what is bad at its foot."""
    most = max(map(sum, columns), default=0) or 1
    drawn = []
    for i, column in enumerate(columns):
        foot = _HEIGHT
        for kind, count in column._asdict().items():
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
