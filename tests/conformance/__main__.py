"""Run Django's own tests of its task API against this backend, on each Django that it supports.

    python -m tests.conformance [--installed]

They are read from the source distribution of that Django; before 6.0, from that of 6.0, with the
backport's names in them. Django's other versions are installed beside the one that is here, into
a folder. Prints passed / applicable, and those that cannot apply, each with the reason. Ends with
exit code 1 when one has failed.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import django

from .excluded import BACKPORT, EXCLUDED

_SDISTS = Path(".conformance")
# Whose tests the backport is held against.
_BEFORE_SIX = "6.0"
_OF_SIX = (3, 12)


def main() -> int:
    if "--installed" in sys.argv:
        return installed()
    worst = 0
    for version in ("5.2", "6.0", "6.1"):
        if version != "5.2" and sys.version_info < _OF_SIX:
            print(f"Django {version}: not with this Python, which is too old for it")
            continue
        path = os.pathsep.join([*_home_of(version), os.environ.get("PYTHONPATH", "")])
        ended = subprocess.run(
            [sys.executable, "-m", "tests.conformance", "--installed"],
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
        worst = max(worst, ended.returncode)
    return worst


def _home_of(version: str) -> list[str]:
    """The folder of that Django; none, where it is the one that is installed."""
    if django.__version__.startswith(f"{version}."):
        return []
    folder = (_SDISTS / f"django-{version}").absolute()
    if not folder.exists():
        subprocess.run(
            [
                sys.executable, "-m", "pip", "install", "--quiet", "--no-deps",
                "--disable-pip-version-check", "--target", str(folder), f"django~={version}.0",
            ],
            check=True,
        )  # fmt: skip
    return [str(folder)]


def installed() -> int:
    """Against the Django that is imported here."""
    version = django.__version__ if django.VERSION >= (6, 0) else f"{_BEFORE_SIX}.*"
    with tempfile.TemporaryDirectory() as folder:
        _unpack(_sdist(version), Path(folder))
        if django.VERSION < (6, 0):
            _rename(Path(folder) / "tasks")
        report = _run(Path(folder))
    passed = int((re.search(r"(\d+) passed", report) or ["", "0"])[1])
    wrong = re.search(r"(\d+) (failed|error)", report)
    applicable = passed + (int(wrong[1]) if wrong else 0)
    if wrong or not passed:
        print(report)
    told = f"Django {django.__version__}" + (
        " with django-tasks" if django.VERSION < (6, 0) else ""
    )
    print(f"{told}: {passed} / {applicable} passed")
    for name, why in (EXCLUDED | (BACKPORT if django.VERSION < (6, 0) else {})).items():
        print(f"  cannot apply: {name}: {why}")
    return 1 if wrong or not passed else 0


def _sdist(version: str) -> Path:
    """The source distribution, downloaded once."""
    _SDISTS.mkdir(exist_ok=True)
    pattern = f"django-{version}.tar.gz"
    if not list(_SDISTS.glob(pattern)):
        subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary",
                ":all:", "--disable-pip-version-check", "--python-version", "3.12",
                "--dest", str(_SDISTS), f"django=={version}",
            ],
            check=True,
        )  # fmt: skip
    return sorted(_SDISTS.glob(pattern))[-1]


def _unpack(sdist: Path, folder: Path) -> None:
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            parts = Path(member.name).parts
            if parts[1:3] == ("tests", "tasks") and member.isfile():
                member.name = str(Path(*parts[2:]))
                archive.extract(member, folder, filter="data")


def _rename(folder: Path) -> None:
    """To the backport's names."""
    exceptions = importlib.import_module("django_tasks.exceptions")
    for file in folder.glob("*.py"):
        text = file.read_text().replace("django.tasks", "django_tasks")
        for name in ("InvalidTask", "InvalidTaskBackend"):
            if not hasattr(exceptions, name):
                text = re.sub(rf"\b{name}\b", f"{name}Error", text)
        file.write_text(text)


def _run(folder: Path) -> str:
    path = os.pathsep.join([str(folder), ".", os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
            "--ds", "tests.conformance.settings", "tests/conformance/cases.py",
        ],
        env={**os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    return ended.stdout + ended.stderr


if __name__ == "__main__":
    sys.exit(main())
