"""Let Wagtail index a page through jobs, and find it.

    python -m tests.wagtail

Installs Wagtail into a folder, makes a database of its own, publishes a page, looks which jobs that
has enqueued, runs them by a real worker, and searches. Ends with exit code 1 where something is not
as it should be.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(".wagtail")
VERSION = "8.0.*"


def main() -> int:
    if sys.version_info < (3, 12):
        print("Wagtail: not with this Python, which is too old for its Django")
        return 0
    if "--installed" not in sys.argv:
        return _install_and_run()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.wagtail.settings"
    import django

    django.setup()
    _make_database()
    from django.core.management import call_command

    call_command("check", fail_level="WARNING")
    call_command("migrate", verbosity=0)
    return _publish_and_search()


def _install_and_run() -> int:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not FOLDER.exists():
        subprocess.run([*pip, "--target", str(FOLDER), f"wagtail=={VERSION}"], check=True)
    # Behind what is installed here: Django stays the one that is tested.
    path = os.pathsep.join([".", *sys.path, str(FOLDER)])
    command = [sys.executable, "-m", "tests.wagtail", "--installed"]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode


def _make_database() -> None:
    """Anew, each time."""
    from django.db import connection

    with connection._nodb_cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute("DROP DATABASE IF EXISTS wagtail WITH (FORCE)")
        cursor.execute("CREATE DATABASE wagtail")


def _publish_and_search() -> int:
    import wagtail
    from django.core.management import call_command
    from wagtail.models import Page

    from jobs import Job

    root: Any = Page.objects.get(depth=1)
    page = Page(title="Zanzibar International Airport", slug="zanzibar")
    root.add_child(instance=page)
    page.save_revision().publish()
    enqueued = sorted({job.task for job in Job.objects.all()})
    before = list(Page.objects.search("Zanzibar"))
    call_command("runworker", burst=True, processes=1, verbosity=0)
    states = {job.state for job in Job.objects.all()}
    after = [found.title for found in Page.objects.search("Zanzibar")]

    print(f"Wagtail {wagtail.__version__} has enqueued, through {Job.objects.count()} jobs:")
    for name in enqueued:
        print(f"  {name}")
    print(f"ended as: {', '.join(sorted(states))}; found before: {len(before)}, after: {after}")
    is_right = states == {"succeeded"} and not before and after == [page.title] and enqueued
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
