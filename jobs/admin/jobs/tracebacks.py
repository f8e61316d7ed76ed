"""Tracebacks as one reads them: the site's own frames set off, others dim, paths short."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from jobs import frames


def shown(traceback: str) -> SafeString:
    """As HTML, for a <pre>."""
    return format_html_join(
        "", '<span class="{}">{}</span>', ((kind, text) for kind, text in _parts(traceback))
    )


def _parts(traceback: str) -> Iterator[tuple[str, str]]:
    """(class, text) of each frame with its lines, and of what stands around them."""
    kind = "jobs-said"
    lines: list[str] = []
    for line in traceback.splitlines():
        if frame := frames.read(line):
            yield kind, _joined(lines)
            kind = "jobs-own" if frame.is_own else "jobs-foreign"
            where = f", in {frame.function}" if frame.function else ""
            lines = [f'  File "{frame.path}", line {frame.line}{where}']
        elif kind != "jobs-said" and not line.startswith("    "):
            yield kind, _joined(lines)
            kind, lines = "jobs-said", [line]
        else:
            lines.append(line)
    yield kind, _joined(lines)


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
