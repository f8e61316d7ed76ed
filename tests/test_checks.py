"""System checks: what is said at start-up, with which cure."""

import re
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from django.apps import apps
from django.core.checks import CheckMessage
from django.db import connections, models
from django.test import override_settings
from django.test.utils import isolate_apps

from jobs import Job
from jobs.checks import check_database, check_deployment, check_settings, deployment
from jobs.tasks import registry
from tests import tasks
from tests.workers import ROOT


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
        (
            {"DEFAULTS": {"tests.*": {"qeue_name": "a"}}},
            "jobs.E006",
            r"DEFAULTS.*did you mean queue_name",
        ),
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

    # A callback that is refused as a task is refused as a callback, too.
    assert {message.id for message in messages} - {"jobs.E010"} == {id_}
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
    monkeypatch.setattr("jobs.checks.server.OLDEST_POSTGRESQL", 99)

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


# The site around it.


class Elsewhere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "jobs" else None


def test_a_router_that_keeps_the_tables_out_is_an_error() -> None:
    with override_settings(DATABASE_ROUTERS=["tests.test_checks.Elsewhere"]):
        [message] = told()

    assert (message.id, "app label 'jobs'" in str(message.hint)) == ("jobs.E011", True)


def test_a_pool_that_is_smaller_than_the_threads_is_a_warning() -> None:
    def with_pool(pool: Any, threads: int) -> list[str]:
        behind = {"default": {**connections.settings["default"], "OPTIONS": {"pool": pool}}}
        with mock.patch.object(connections, "settings", behind):
            return [str(message.id) for message in told(THREADS=threads)]

    assert with_pool(True, 5) == ["jobs.W010"]
    assert with_pool({"min_size": 1, "max_size": 4}, 5) == ["jobs.W010"]
    assert with_pool({"max_size": 8}, 5) == with_pool(True, 4) == with_pool(False, 9) == []


@isolate_apps("tests")
def test_a_foreign_key_with_a_constraint_is_a_warning() -> None:
    class Order(models.Model):
        receipt = models.ForeignKey(Job, on_delete=models.DO_NOTHING)
        again = models.ForeignKey(
            Job, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
        )

        class Meta:
            app_label = "tests"

    with mock.patch.object(apps, "get_models", return_value=[Order, *apps.get_models()]):
        [message] = told()

    assert message.id == "jobs.W005"
    assert "tests.Order.receipt" in message.msg


def test_queues_of_a_backend_that_jobs_has_not_are_a_warning() -> None:
    backends = {"x": {"BACKEND": "jobs.backend.JobsBackend", "QUEUES": ["mail", "sums"]}}
    with override_settings(TASKS=backends):
        found = [one for one in told(QUEUES=["default", "mail", "alarms"]) if one.id == "jobs.W011"]

    assert [one.msg for one in found] == [
        "TASKS['x'] has the queue 'sums', and JOBS['QUEUES'] has not: its tasks are refused."
    ]


# Only where they are asked for.


def test_the_deployment_is_checked_when_asked_for() -> None:
    backends = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    with (
        override_settings(JOBS={"RETENTION": None}, TASKS=backends),
        mock.patch.dict(registry._by_name, clear=True),
        mock.patch.dict(registry._declared, clear=True),
    ):
        found = {message.id for message in check_deployment(None)}
    assert found == {"jobs.W006", "jobs.W007", "jobs.W009"}
    patient = {"default": {**connections.settings["default"], "CONN_MAX_AGE": None}}
    with mock.patch.object(connections, "settings", patient):
        assert check_deployment(None) == []


@pytest.mark.django_db
def test_missing_migrations_and_encodings_are_told_by_the_database() -> None:
    assert check_database(None, databases=["default"]) == []
    with connections["default"].cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'jobs' AND name LIKE '0004%'")
    [message] = check_database(None, databases=["default"])

    assert (message.id, "0004_schedule_trigger" in message.msg) == ("jobs.W008", True)


def test_the_page_of_checks_has_each_id_and_no_other() -> None:
    in_code = {
        id_
        for file in [*(ROOT / "jobs").rglob("*.py")]
        for id_ in re.findall(r'"(jobs\.[EW]\d{3})"', file.read_text())
    }
    in_docs = re.findall(r"^\| `(jobs\.[EW]\d{3})`", (ROOT / "docs/checks.md").read_text(), re.M)

    assert sorted(in_code) == sorted(in_docs)


def test_patterns_of_other_packages_and_of_plain_functions_warn_of_nothing() -> None:
    assert told(TASKS={"wagtail.*": {"queue_name": "search"}, "tests.tasks.plain": {}}) == []
    found = told(TASKS={"tests.django_taks.*": {"priority": 1}})
    assert [one.id for one in found] in ([], ["jobs.W002"])


def test_bad_options_are_told_whatever_their_pattern_is_about() -> None:
    [message] = told(TASKS={"wagtail.*": {"retention": 30}})

    assert (message.id, "retention is 30" in message.msg) == ("jobs.E006", True)


def test_a_site_that_never_looked_at_djangos_tasks_is_warned_of_nothing() -> None:
    untouched = mock.Mock(is_overridden=lambda name: False)
    with mock.patch.object(deployment, "django_settings", untouched):
        assert "jobs.W009" not in {one.id for one in check_deployment(None)}
