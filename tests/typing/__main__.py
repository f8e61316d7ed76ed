"""`python -m tests.typing`: run mypy and pyright over the two files, and say what is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
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
    return joined((int(line), message) for line, message in found)


def pyright(file: Path) -> dict[int, str]:
    output = run(str(BIN / "pyright"), "--outputjson", "--pythonpath", sys.executable, str(file))
    found = json.loads(output)["generalDiagnostics"]
    return joined(
        (one["range"]["start"]["line"] + 1, one["message"])
        for one in found
        if one["severity"] == "error"
    )


def joined(messages: Iterable[tuple[int, str]]) -> dict[int, str]:
    """What is said of each line."""
    told: dict[int, str] = {}
    for line, message in messages:
        told[line] = f"{told[line]}; {message}" if line in told else message
    return told


# How mypy and pyright say why.
REASONS = {
    "argument type": (r"incompatible type|has incompatible", r"cannot be assigned|not assignable"),
    "missing argument": (r"Missing (positional|named) arg|Too few arg", r"[Aa]rguments? missing"),
    "too many arguments": (r"Too many (positional )?arguments", r"Expected \d+ (positional )?arg"),
    "unknown argument": (r"Unexpected keyword argument", r"No parameter named"),
    "result type": (r"Incompatible types in assignment", r"not assignable to declared type"),
    "attribute": (r"has no attribute", r"Cannot access attribute"),
    # Of several overloads, none fits; which words are told depends on which came nearest.
    "call": (
        r"No overload variant|incompatible type|Unexpected keyword|Untyped decorator",
        r"No overloads for|not assignable|missing for parameter|Expected \d|No parameter named",
    ),
}


def wrong(file: Path, check: Callable[[Path], dict[int, str]]) -> list[str]:
    """Lines that were refused and should not be, the other way round, or for another reason."""
    expected = {
        number: found[1]
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if (found := re.search(r"  # refused: (.+)$", line))
    }
    refused = check(file)
    name = f"{check.__name__}: {file.name}"
    found_wrong = [
        *(f"{name}:{line}: {refused[line]}" for line in sorted(refused.keys() - expected.keys())),
        *(f"{name}:{line}: should be refused" for line in sorted(expected.keys() - refused.keys())),
    ]
    for line in sorted(expected.keys() & refused.keys()):
        words = REASONS[expected[line]][check is pyright]
        if not re.search(words, refused[line]):
            found_wrong.append(f"{name}:{line}: not told as {expected[line]}: {refused[line]}")
    return found_wrong


def main() -> None:
    files = [HERE / "must_pass.py", HERE / "must_fail.py"]
    problems = [line for file in files for check in (mypy, pyright) for line in wrong(file, check)]
    if problems:
        raise SystemExit("\n".join(problems))
    print("types: mypy and pyright accept what they must, and refuse what they must")


if __name__ == "__main__":
    main()
