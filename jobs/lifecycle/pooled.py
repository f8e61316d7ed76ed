"""A worker's connection through PgBouncer in transaction mode: nothing is kept in the session.

Every transaction may meet another session of the server. What a direct connection says once,
in its options, is said here at the beginning of each transaction, in the same round trip; and
no statement is prepared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from .bounded import Connection


class Pooled(Connection):
    """`execute`, `pipeline` and `transaction` as ever; each in a transaction with its options."""

    # Set by `pin`, before the first use.
    _options: tuple[str, ...] = ()
    _set: str = ""
    _is_pinned = False

    def pin(self, options: Mapping[str, str]) -> None:
        """Set these in every transaction from now on."""
        calls = ", ".join(["set_config(%s, %s, true)"] * len(options))
        self._set = f"SELECT {calls}"
        self._options = tuple(part for option in options.items() for part in option)
        self.prepare_threshold = None
        # Else it would be the default of some session.
        self.isolation_level = psycopg.IsolationLevel.READ_COMMITTED

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if self._is_pinned:
                yield transaction
                return
            self._is_pinned = True
            try:
                super().execute(self._set, self._options)
                yield transaction
            finally:
                self._is_pinned = False

    @contextmanager
    def pipeline(self) -> Iterator[psycopg.Pipeline]:
        if self._is_pinned:
            with super().pipeline() as pipeline:
                yield pipeline
            return
        self._is_pinned = True
        try:
            with super().pipeline() as pipeline:
                super().execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                super().execute(self._set, self._options)
                yield pipeline
                super().execute("COMMIT")
        finally:
            self._is_pinned = False
            # After an error the transaction stands, and fails whatever comes.
            if not self.closed and self.info.transaction_status != TransactionStatus.IDLE:
                self.rollback()

    def execute(self, *args: Any, **kwargs: Any) -> psycopg.Cursor[TupleRow]:
        if self._is_pinned:
            return super().execute(*args, **kwargs)
        with self.pipeline():
            return super().execute(*args, **kwargs)
