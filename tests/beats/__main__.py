"""Three beats, fifty schedules of one to five seconds; beats are killed, stopped and continued.

    python -m tests.beats --minutes 2 --seed 7

A PostgreSQL of its own. Ends with exit code 1 and a list when a tick was lost or came twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

from project.private_postgres.server import Server

FOLDER = Path(".chaos")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.beats",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=None, help="repeat what was drawn before")
    options = parser.parse_args()
    seed = random.randrange(10_000) if options.seed is None else options.seed
    folder = FOLDER.absolute()
    folder.mkdir(exist_ok=True)
    server = Server(folder / "postgres")
    server.ensure_running()
    os.environ |= {
        "CHAOS_HOST": str(server.socket_folder),
        "CHAOS_FOLDER": str(folder),
        "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
    }
    try:
        print(f"seed {seed}, {options.minutes:g} minutes", flush=True)
        return trial(server, folder, seed, options.minutes * 60)
    finally:
        server.stop()


def trial(server: Server, folder: Path, seed: int, seconds: float) -> int:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from .trial import Trial

    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE")
        cursor.execute("CREATE SCHEMA public")
        cursor.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    connection.close()
    server.stop()
    server.ensure_running()
    call_command("migrate", verbosity=0)

    def start() -> subprocess.Popen[bytes]:
        with (folder / "beats.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "manage.py", "runbeat"], stdout=log, stderr=subprocess.STDOUT
            )

    figures = Trial(start, seconds, seed, "tests.chaos.tasks.tick", knows_commits=True).run()
    wrong = figures.pop("wrong")
    print(json.dumps(figures, indent=1))
    for line in wrong[:50]:
        print(f"WRONG: {line}")
    print(f"{figures['ticks']:,} ticks: {len(wrong) or 'no'} promises broken")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
