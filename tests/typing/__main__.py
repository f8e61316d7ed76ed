"""`python -m tests.typing`: run mypy and pyright over the two files, and say what is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BIN = Path(sys.executable).parent


def run(*command: str) -> str:
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def mypy(file: Path) -> dict[int, str]:
    output = run(str(BIN / "mypy"), "--no-error-summary", "--hide-error-context", str(file))
    found = re.findall(rf"{file.name}:(\d+): error: (.*)", output)
    return {int(line): message for line, message in found}


def pyright(file: Path) -> dict[int, str]:
    output = run(str(BIN / "pyright"), "--outputjson", "--pythonpath", sys.executable, str(file))
    found = json.loads(output)["generalDiagnostics"]
    return {
        one["range"]["start"]["line"] + 1: one["message"]
        for one in found
        if one["severity"] == "error"
    }


def wrong(file: Path, check: Callable[[Path], dict[int, str]]) -> list[str]:
    """Lines that were refused and should not be, and the other way round."""
    lines = file.read_text().splitlines()
    expected = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    refused = check(file)
    name = f"{check.__name__}: {file.name}"
    return [
        *(f"{name}:{line}: {refused[line]}" for line in sorted(refused.keys() - expected)),
        *(f"{name}:{line}: should be refused" for line in sorted(expected - refused.keys())),
    ]


def main() -> None:
    files = [HERE / "must_pass.py", HERE / "must_fail.py"]
    problems = [line for file in files for check in (mypy, pyright) for line in wrong(file, check)]
    if problems:
        raise SystemExit("\n".join(problems))
    print("types: mypy and pyright accept what they must, and refuse what they must")


if __name__ == "__main__":
    main()
