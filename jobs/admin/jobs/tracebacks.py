"""Tracebacks as one reads them: the site's own frames set off, others dim, paths short."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

_FRAME = re.compile(r'^  File "(?P<path>[^"]+)", line (?P<line>\d+)(?P<rest>.*)$')
# What comes behind one of these is not the site's, wherever it was installed.
_FOREIGN = re.compile(r"^.*/(?:site-packages|dist-packages|lib/python3\.\d+)/")
_OURS = re.compile(r"(?:^|/)jobs/(?:execution|worker|testing)/\w+\.py$")
# Of a path on another machine, so many parts are shown.
_PARTS = 4


def shown(traceback: str) -> SafeString:
    """As HTML, for a <pre>."""
    return format_html_join(
        "", '<span class="{}">{}</span>', ((kind, text) for kind, text in _parts(traceback))
    )


def own_frames(traceback: str) -> list[str]:
    """Where the site's own code stood, the innermost last: "shop/tasks.py, line 7, in charge"."""
    found = []
    for line in traceback.splitlines():
        frame = _FRAME.match(line)
        if frame and _is_own(frame["path"]):
            found.append(f"{short(frame['path'])}, line {frame['line']}{frame['rest']}")
    return found


def short(path: str) -> str:
    """A path without what is the machine's own."""
    if foreign := _FOREIGN.match(path):
        return path[foreign.end() :]
    for root in _roots():
        if path.startswith(f"{root}/"):
            return path[len(root) + 1 :]
    parts = path.split("/")
    return path if len(parts) <= _PARTS else "…/" + "/".join(parts[-_PARTS + 1 :])


def _parts(traceback: str) -> Iterator[tuple[str, str]]:
    """(class, text) of each frame with its lines, and of what stands around them."""
    kind = "jobs-said"
    lines: list[str] = []
    for line in traceback.splitlines():
        frame = _FRAME.match(line)
        if frame:
            yield kind, _joined(lines)
            kind = "jobs-own" if _is_own(frame["path"]) else "jobs-foreign"
            lines = [f'  File "{short(frame["path"])}", line {frame["line"]}{frame["rest"]}']
        elif kind != "jobs-said" and not line.startswith("    "):
            yield kind, _joined(lines)
            kind, lines = "jobs-said", [line]
        else:
            lines.append(line)
    yield kind, _joined(lines)


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _is_own(path: str) -> bool:
    return not (_FOREIGN.match(path) or _OURS.search(path) or path.startswith("<"))


def _roots() -> list[str]:
    named = getattr(settings, "BASE_DIR", None)
    return [str(root) for root in (named, Path.cwd()) if root]
