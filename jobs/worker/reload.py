"""In development: has a file of the site's code changed?"""

from __future__ import annotations

import contextlib
import os
import site
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.utils.autoreload import iter_all_python_module_files

# Files are looked at so often, in seconds.
_EVERY = 1.0


class Files:
    """The modules that are imported here, and all of the site's own apps: a runner may import
    what its supervisor never did."""

    def __init__(self) -> None:
        self._seen = dict(self._modified())
        self._looked_at = time.monotonic()

    def changed(self) -> set[Path]:
        """The files that are not as they were; at most once a second anything is looked at."""
        now = time.monotonic()
        if now - self._looked_at < _EVERY:
            return set()
        self._looked_at = now
        seen, self._seen = self._seen, dict(self._modified())
        changed = {
            path for path in seen.keys() & self._seen.keys() if seen[path] != self._seen[path]
        }
        # What was only now imported has not changed.
        return changed | {path for path in self._seen.keys() - seen.keys() if _is_the_sites(path)}

    def _modified(self) -> Iterator[tuple[Path, float]]:
        found = set(iter_all_python_module_files())
        for app in apps.get_app_configs():
            if _is_the_sites(Path(app.path)):
                # A folder may vanish meanwhile.
                with contextlib.suppress(OSError):
                    found.update(Path(app.path).rglob("*.py"))
        for path in found:
            try:
                yield path, path.stat().st_mtime
            except OSError:
                continue


def _is_the_sites(path: Path) -> bool:
    """Not an installed package's, nor Python's own."""
    return not any(path.is_relative_to(folder) for folder in _INSTALLED)


_INSTALLED = {
    Path(folder)
    for folder in (
        sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"),
        *site.getsitepackages(), site.getusersitepackages(),
    )
}  # fmt: skip


def compiles(path: Path) -> str:
    """What is wrong with the file, as far as Python sees it without running it; empty: nothing."""
    try:
        compile(path.read_bytes(), str(path), "exec")
    except (SyntaxError, ValueError) as error:
        return str(error)
    except OSError:
        # Deleted.
        return ""
    return ""


def begin_anew() -> None:
    """Replace this process by one that runs the same command with the code as it is now."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
