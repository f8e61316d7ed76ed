"""The hand-written statements: each whole in its own `.sql` file, with a comment that says why."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import LiteralString

_HERE = Path(__file__).parent


@cache
def statement(name: str) -> LiteralString:
    """The text of `name.sql`. It is part of the program, hence as literal as the code."""
    return (_HERE / f"{name}.sql").read_text(encoding="utf-8")
