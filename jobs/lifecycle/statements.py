"""The hand-written statements: each whole in its own `.sql` file, with a comment that says why."""

from __future__ import annotations

from pathlib import Path
from typing import LiteralString


def read_all(folder: Path) -> dict[str, LiteralString]:
    """The `.sql` files of a folder by name, read when its code is: a deployment that replaces
    files under a running worker must not mix old code with new statements."""
    return {file.stem: file.read_text(encoding="utf-8") for file in folder.glob("*.sql")}


_STATEMENTS = read_all(Path(__file__).parent)


def statement(name: str) -> LiteralString:
    """The text of `name.sql`. It is part of the program, hence as literal as the code."""
    return _STATEMENTS[name]
