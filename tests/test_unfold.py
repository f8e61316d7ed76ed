"""The control room under django-unfold, in a process with settings of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.test_browser import CHROMIUM, DRIVER
from tests.workers import ROOT


@pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="no chromium and chromedriver here")
def test_the_control_room_works_under_unfold() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unfolded/pages.py"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.unfolded.settings"},
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
