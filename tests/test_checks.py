"""System checks: what is said at start-up, with which cure."""

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from django.core.checks import CheckMessage
from django.db import connections
from django.test import override_settings

from jobs.checks import check_database, check_settings
from jobs.tasks import registry
from tests import tasks


def told(**jobs: Any) -> list[CheckMessage]:
    with override_settings(JOBS=jobs):
        return check_settings(None)


def test_a_sound_site_has_nothing_to_say() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("jobs", "id_", "words"),
    [
        ({"THREDS": 4}, "jobs.E001", "Did you mean 'THREADS'?"),
        ({"DATABASE": "nowhere"}, "jobs.E002", "It has: default."),
        ({"TASKS": {"tests.*": {"qeue_name": "a"}}}, "jobs.E006", "did you mean queue_name"),
        ({"TASKS": {"tests.taks.*": {"priority": 1}}}, "jobs.W002", "is about no task"),
        ({"QUEUES": ["mail"]}, "jobs.E006", "no queue 'default'"),
        ({"SCHEDULES": {"a": {"task": "x"}}}, "jobs.E007", "needs 'task' and 'schedule'"),
        (
            {"SCHEDULES": {"a": {"task": "tests.tasks.gone", "schedule": "@daily"}}},
            "jobs.E007",
            "there is no task|has no gone",
        ),
        (
            {"SCHEDULES": {"a": {"task": "tests.tasks.add", "schedule": "@daily"}}},
            "jobs.E007",
            "missing a required argument",
        ),
        (
            {"SCHEDULES": {"a": {"task": "tests.tasks.noop", "schedule": "61 * * * *"}}},
            "jobs.E007",
            "cannot be read",
        ),
    ],
)
def test_a_mistake_is_named_with_its_cure(jobs: dict[str, Any], id_: str, words: str) -> None:
    import re

    messages = told(**jobs)

    assert {message.id for message in messages} == {id_}
    assert re.search(words, " ".join(f"{message.msg} {message.hint}" for message in messages))


def test_every_bad_schedule_is_told_and_hides_no_other() -> None:
    rules = {"a": "* * * *", "b": "@hourl", "c": "61 * * * *", "d": "@daily"}
    schedules = {
        name: {"task": "tests.tasks.noop", "schedule": rule} for name, rule in rules.items()
    }

    text = " ".join(message.msg for message in told(SCHEDULES=schedules))

    assert "Schedule 'a': cron line '* * * *' has 4 fields; it needs five" in text
    assert "Schedule 'b': cron line '@hourl' is no nickname; there are @yearly" in text
    assert "Schedule 'c':" in text
    assert "Schedule 'd'" not in text


def test_a_database_that_is_not_postgresql_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections["default"], "vendor", "sqlite")

    (message,) = told()

    assert (message.id, message.level) == ("jobs.E003", 40)


@pytest.mark.django_db
def test_a_postgresql_that_is_too_old_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_database(None, databases=["default"]) == []
    monkeypatch.setattr("jobs.checks.OLDEST_POSTGRESQL", 99)

    (message,) = check_database(None, databases=["default"])

    assert message.id == "jobs.E004"
    assert "needs 99 or newer" in message.msg


def test_without_time_zones_there_are_no_jobs() -> None:
    with override_settings(USE_TZ=False):
        assert [message.id for message in told()] == ["jobs.E005"]


def test_retries_with_one_attempt_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = replace(tasks.noop, max_attempts=1, retry_on=(OSError,))
    monkeypatch.setitem(registry._by_name, "tests.tasks.noop", odd)

    assert [message.id for message in told()] == ["jobs.W001"]


def test_a_database_behind_a_pooler_is_warned_of_until_jobs_is_told() -> None:
    behind = {"default": {**connections.settings["default"], "DISABLE_SERVER_SIDE_CURSORS": True}}
    with mock.patch.object(connections, "settings", behind):
        assert [message.id for message in told()] == ["jobs.W003"]
        assert told(TRANSACTION_POOLING=True) == []


def test_an_atomic_task_whose_jobs_are_kept_elsewhere_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from django.db import connections

    monkeypatch.setitem(connections.settings, "elsewhere", connections.settings["default"])

    message = next(one for one in told(DATABASE="elsewhere") if "is atomic" in one.msg)

    assert message.id == "jobs.E008"
    assert "would not commit together" in message.msg
