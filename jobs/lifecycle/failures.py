"""What an error of PostgreSQL means: a lost connection, a bad moment, or a refusal of rows."""

from __future__ import annotations

from typing import Any

import psycopg

# SQLSTATE classes that are about values: bad data, broken constraints, limits of the server.
_VALUES = ("22", "23", "54")
# Serialization and deadlock, resources, a lock or a statement that took too long: the same
# statement may succeed later.
_TRANSIENT = ("40", "53", "55", "57014")
# Errors that a new connection cures: a primary that became a standby, or a session that began while
# the database was read-only; a prepared statement that is
# another session's, a table that was altered under a cached plan.
_RENEW = ("25006", "26000", "0A000")
# Where PL/pgSQL raises what a trigger's author has written, whatever SQLSTATE he chose.
_RAISED = "exec_stmt_raise"


def is_gone(error: BaseException, connection: psycopg.Connection[Any] | None = None) -> bool:
    """Return whether the connection failed, not the statement: a new one is needed."""
    if connection is not None and connection.closed:
        return True
    if not isinstance(error, psycopg.Error):
        return False
    if isinstance(error, psycopg.errors.PipelineAborted):
        # An earlier statement of the pipeline has failed, which is another error.
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    if error.diag.severity_nonlocalized in ("FATAL", "PANIC"):
        return True
    if error.diag.source_function == _RAISED:
        return False
    return error.sqlstate in _RENEW


def is_transient(error: BaseException) -> bool:
    """Return whether the same statement may succeed when it is repeated a little later."""
    return (
        isinstance(error, psycopg.Error)
        and (error.sqlstate or "").startswith(_TRANSIENT)
        and error.diag.source_function != _RAISED
    )


def is_refused(error: BaseException, connection: psycopg.Connection[Any] | None = None) -> bool:
    """Return whether PostgreSQL, a trigger of the site, or the driver refuses these very rows.

    Everything counts that is neither a lost connection nor transient.
    """
    if isinstance(error, psycopg.Error):
        return not (is_gone(error, connection) or is_transient(error))
    # The driver's own refusal of a text or a number.
    return isinstance(error, ValueError | TypeError | OverflowError)


def is_about_values(error: BaseException) -> bool:
    """Return whether the refusal is about the values themselves, which no retry changes."""
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        return error.sqlstate.startswith(_VALUES)
    return True


def describe(error: BaseException) -> str:
    """Return the error in one line, without the rows and arguments that psycopg would quote."""
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        primary = (error.diag.message_primary or "").strip()
        return f"{type(error).__name__}: {primary} (SQLSTATE {error.sqlstate})"
    if isinstance(error, psycopg.Error):
        return str(error).strip() or type(error).__name__
    # The driver quotes the value that it could not send.
    return type(error).__name__
