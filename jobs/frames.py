"""Frames of a traceback that was kept as text: which are the site's own, where they stand, and by
what failures of one kind are known.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

_FRAME = re.compile(r'^  File "(?P<path>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.*))?$')
# What comes behind one of these is not the site's, wherever it was installed.
_FOREIGN = re.compile(r"^.*/(?:site-packages|dist-packages|lib/python3\.\d+)/")
_OURS = re.compile(r"(?:^|/)jobs/(?:execution|worker|testing)/\w+\.py$")
# Of a path on another machine, so many parts are shown.
_PARTS = 4


class Frame(NamedTuple):
    # Without what is the machine's own.
    path: str
    line: int
    function: str
    is_own: bool

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" + (f", {self.function}" if self.function else "")


def read(line: str) -> Frame | None:
    """The frame that a line of a traceback begins; None: it begins none."""
    found = _FRAME.match(line)
    if found is None:
        return None
    path = found["path"]
    return Frame(_short(path), int(found["line"]), found["function"] or "", _is_own(path))


def own(traceback: str) -> list[Frame]:
    """Where the site's own code stood, the innermost last."""
    frames = (read(line) for line in traceback.splitlines())
    return [frame for frame in frames if frame is not None and frame.is_own]


def fingerprint(exception_class: str, traceback: str) -> str:
    """What failures of one kind have in common: the class, and which of the site's own functions
    stood in each other; not the lines, which the next deployment moves, nor the message."""
    places = [f"{frame.path} {frame.function}" for frame in own(traceback)]
    text = "\n".join([exception_class, *places])
    return blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()


def _short(path: str) -> str:
    if foreign := _FOREIGN.match(path):
        return path[foreign.end() :]
    for root in _roots():
        if path.startswith(f"{root}/"):
            return path[len(root) + 1 :]
    parts = path.split("/")
    return path if len(parts) <= _PARTS else "…/" + "/".join(parts[-_PARTS + 1 :])


def _is_own(path: str) -> bool:
    return not (_FOREIGN.match(path) or _OURS.search(path) or path.startswith("<"))


def _roots() -> list[str]:
    named = getattr(settings, "BASE_DIR", None)
    return [str(root) for root in (named, Path.cwd()) if root]
