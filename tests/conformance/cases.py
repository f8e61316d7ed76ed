"""Django's own tests of django.tasks, run against this backend.

`tasks` is the folder tests/tasks of Django's source distribution, put on the path.
"""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.db import connection
from django.test import TransactionTestCase, override_settings
from tasks import test_dummy_backend, test_immediate_backend, test_tasks

from .excluded import BACKPORT, EXCLUDED

APPLIES_NOT = EXCLUDED | (BACKPORT if django.VERSION < (6, 0) else {})
STORE = {"BACKEND": "tests.conformance.adapters.StoreAdapter"}
EAGER = {"BACKEND": "tests.conformance.adapters.EagerAdapter"}


def conforming(name: str, case: type[Any], tasks: dict[str, Any]) -> type[Any]:
    """A subclass of Django's test case that runs on the database, with our backend."""
    bases = (case,) if issubclass(case, TransactionTestCase) else (case, TransactionTestCase)
    members: dict[str, Any] = {"databases": {"default"}, "available_apps": None}
    for test in dir(case):
        why = APPLIES_NOT.get(f"{case.__name__}.{test}")
        if why is not None:
            members[test] = unittest.skip(why)(getattr(case, test))
    made = type(name, bases, members)
    return override_settings(TASKS=tasks)(made)  # type: ignore[no-any-return]


TestTasks = conforming(
    "TestTasks",
    test_tasks.TaskTestCase,
    {
        "default": {**STORE, "QUEUES": ["default", "queue_1"]},
        "immediate": {**EAGER, "QUEUES": []},
        "missing": {"BACKEND": "does.not.exist"},
    },
)
TestDummy = conforming(
    "TestDummy",
    test_dummy_backend.DummyBackendTestCase,
    {"default": {**STORE, "QUEUES": []}},
)
TestImmediate = conforming(
    "TestImmediate",
    test_immediate_backend.ImmediateBackendTestCase,
    {"default": {**EAGER, "QUEUES": []}},
)


@pytest.fixture(scope="session", autouse=True)
def end_sessions(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Those that event loops' threads have left would keep the database."""
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
