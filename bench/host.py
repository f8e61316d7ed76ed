"""A process of its own for each queue: its libraries and settings meet no other's.

It reads lines of JSON, [what, arguments], and answers each with one: ["ok", result] or
["failed", why].
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import measures, own
from .peer import PYTHON, Peer, Places
from .peers import make


class Host:
    """The driver's end."""

    def __init__(self, name: str, places: Places) -> None:
        self.name = name
        places.folder.mkdir(parents=True, exist_ok=True)
        self._log = (places.folder / "host.log").open("ab")
        self._process = subprocess.Popen(  # noqa: S603
            [PYTHON, "-m", "bench.host", name],
            env=os.environ | places.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def ask(self, what: str, *arguments: Any, **named: Any) -> Any:
        """What the other end answers; measures.Failed with its reason."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([what, arguments, named]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise measures.Failed(f"it broke: see {self._log.name}")
        outcome, value = json.loads(line)
        if outcome != "ok":
            raise measures.Failed(value)
        return value

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        # In the middle of a measure it would go on to its end, and leave its worker.
        self._process.terminate()
        self._process.wait()
        self._log.close()


def main() -> None:
    # What libraries print is not an answer.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = make(sys.argv[1], Places.from_environment())
    for line in sys.stdin:
        what, arguments, named = json.loads(line)
        try:
            answer = ["ok", _do(peer, what, arguments, named)]
        except Exception as error:
            print(f"{what}: {error!r}", file=sys.stderr, flush=True)
            answer = ["failed", f"{type(error).__name__}: {error}".removeprefix("Failed: ")]
        print(json.dumps(answer), file=answers, flush=True)


def _do(peer: Peer, what: str, arguments: list[Any], named: dict[str, Any]) -> Any:
    if what == "describe":
        return {
            "label": peer.label, "keeps": peer.keeps, "jobs": peer.jobs, "cannot": peer.cannot,
            "missing": peer.missing(), "needs": peer.needs,
        }  # fmt: skip
    if what == "prepare":
        Path(peer.places.folder).mkdir(parents=True, exist_ok=True)
        peer.prepare()
        return None
    measure = getattr(measures, what, None) or getattr(own, what)
    return measure(peer, *arguments, **named)


if __name__ == "__main__":
    main()
