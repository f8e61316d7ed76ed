"""A trigger of the site's that refuses rows of one of our tables, whatever SQLSTATE it raises."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from django.db import connection as django_connection

_MAKE = """
CREATE FUNCTION tests_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF {condition} THEN
        RAISE EXCEPTION 'the site refuses this row' USING ERRCODE = '{sqlstate}';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER tests_refuse BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION tests_refuse()
"""
_DROP = "DROP TRIGGER IF EXISTS tests_refuse ON {table}; DROP FUNCTION IF EXISTS tests_refuse()"


@contextlib.contextmanager
def refusing(
    table: str, event: str, condition: str, sqlstate: str = "P0001", using: Any = None
) -> Iterator[None]:
    """While it lasts, `event` (as UPDATE, or INSERT OR UPDATE) is refused of rows that meet the
    condition, which is PL/pgSQL about OLD and NEW."""
    connection = using or django_connection
    with connection.cursor() as cursor:
        cursor.execute(
            _MAKE.format(table=table, event=event, condition=condition, sqlstate=sqlstate)
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(_DROP.format(table=table))
