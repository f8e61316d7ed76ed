"""Process titles: which process of a worker is which, in ps and top."""

from __future__ import annotations

import contextlib
import ctypes
import sys

# Linux's prctl: set the name of the calling thread, which for the main one is the process's.
_PR_SET_NAME = 15
# Linux keeps so many bytes of a name.
_LONGEST = 15

try:
    from setproctitle import setproctitle
except ImportError:
    setproctitle = None  # type: ignore[assignment,unused-ignore]


def title(text: str) -> None:
    """Name this process: in full where setproctitle is installed, else by Linux's short name."""
    if setproctitle is not None:
        setproctitle(text)
    elif sys.platform == "linux":
        # "jobs: runner web-1/2" becomes "jobs runner/2".
        kind = text.removeprefix("jobs: ").split(" ")[0]
        _, slash, number = text.rpartition("/")
        short = f"jobs {kind}{slash}{number if slash else ''}"[:_LONGEST]
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_NAME, short.encode(), 0, 0, 0)
