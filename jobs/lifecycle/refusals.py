"""Refusals: one row that PostgreSQL does not accept is set aside, and everything else goes on.

The one principle of every loop: write a batch; where it is refused, halve it until the refused item
stands alone (`write_apart`); note that one (`note_refusal`) and go on with the others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import psycopg

from jobs.bounds import is_text

from .failures import describe, is_gone, is_refused
from .statements import statement

logger = logging.getLogger("jobs")
T = TypeVar("T")

# Refusals that could not be noted in the table are logged by each process, at most so often for
# each, in seconds.
_LOG_AGAIN = 3600.0
# Refusals whose last line in the log is remembered by a process.
_MOST_REMEMBERED = 4096
_logged: dict[tuple[str, str], float] = {}


def note_refusal(
    connection: psycopg.Connection[Any],
    subject: str,
    key: str,
    error: BaseException,
    *,
    by: str,
    is_logged: bool = True,
) -> None:
    """Write the refusal's row (see `models.Refusal`), and one line to the log when it is new.

    Runs in a transaction or a savepoint of its own. Raises only if the connection is lost.
    """
    message = describe(error)
    if not is_text(message):
        message = type(error).__name__
    parameters = {"subject": subject, "key": key[:255], "message": message, "by": by[:128]}
    try:
        with connection.transaction():
            row = connection.execute(statement("note_refusal"), parameters).fetchone()
        is_new = row is not None and row[0]
    except psycopg.Error as failure:
        if is_gone(failure, connection):
            raise
        is_new = time.monotonic() - _logged.get((subject, key), -_LOG_AGAIN) >= _LOG_AGAIN
    if is_new and is_logged:
        if len(_logged) >= _MOST_REMEMBERED:
            _logged.clear()
        _logged[subject, key] = time.monotonic()
        logger.error("%s %s was refused and is set aside: %s", subject, key, message)


def forget_refusals(
    connection: psycopg.Connection[Any], subject: str, keys: Collection[str]
) -> None:
    """Delete the rows of what was refused and is accepted now. Raises only if the connection is
    lost."""
    for key in keys:
        _logged.pop((subject, key), None)
    try:
        with connection.transaction():
            connection.execute(
                statement("forget_refusals"), {"subject": subject, "keys": list(keys)}
            )
    except psycopg.Error as failure:
        if is_gone(failure, connection):
            raise


def write_apart(
    connection: psycopg.Connection[Any],
    items: Sequence[T],
    write: Callable[[Sequence[T]], object],
    refused: Callable[[T, Exception], object],
) -> None:
    """Write the items in transactions of their own, as many together as are accepted.

    `write` is called within a transaction; `refused` outside of it, for each item that was refused
    alone. Raises what is no refusal: the rest is not written then.
    """
    stack = [items]
    while stack:
        part = stack.pop()
        try:
            with connection.transaction():
                write(part)
        except Exception as error:
            if not is_refused(error, connection):
                raise
            if len(part) == 1:
                refused(part[0], error)
                continue
            middle = len(part) // 2
            stack += [part[middle:], part[:middle]]
