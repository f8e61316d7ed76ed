"""The docs say what the code does: snippets run, tables and links are true."""

import inspect
import logging.config
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
import pytest
import yaml
from django.core.management import load_command_class
from django.db import connection, transaction
from django.test import override_settings

from jobs import conf
from jobs.models import Job, State
from jobs.tasks import registry
from jobs.tasks.definition import Task
from jobs.tasks.options import USING
from jobs.testing import run_jobs, travel
from tests import tasks
from tests.workers import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


def snippets(page: Path) -> list[str]:
    return SNIPPET.findall(page.read_text())


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A module of an installed app for a page's snippets, so that its functions may be jobs."""
    made = types.ModuleType("tests.page")
    monkeypatch.setitem(sys.modules, "tests.page", made)
    by_name, by_function = dict(registry._by_name), dict(registry._by_function)
    yield made
    registry._by_name.clear()
    registry._by_name.update(by_name)
    registry._by_function.clear()
    registry._by_function.update(by_function)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", [p for p in PAGES if snippets(p)], ids=lambda p: p.name)
def test_the_snippets_of_a_page_run_one_after_the_other(
    page: Path, module: types.ModuleType
) -> None:
    for number, code in enumerate(snippets(page), 1):
        exec(compile(code, f"{page.name}, snippet {number}", "exec"), module.__dict__)


def test_the_tests_of_the_testing_page_pass(
    module: types.ModuleType, request: pytest.FixtureRequest, db: None
) -> None:
    for code in snippets(ROOT / "docs/testing.md"):
        exec(code, module.__dict__)
    found = {name: one for name, one in vars(module).items() if name.startswith("test_")}
    for test in found.values():
        names = inspect.signature(test).parameters
        if "transactional_db" in names:
            # A test of its own, below: no transaction around it.
            continue
        with transaction.atomic():
            test(**{name: request.getfixturevalue(name) for name in names})
            transaction.set_rollback(True)
    for name in ("test_enqueues_receipts", "test_leaves_nothing_when_it_fails"):
        module.__dict__["Paying"](name).debug()
    assert len(found) > 6


@pytest.mark.django_db(transaction=True)
def test_the_testing_pages_live_worker_works(module: types.ModuleType) -> None:
    for code in snippets(ROOT / "docs/testing.md"):
        exec(code, module.__dict__)
    module.__dict__["test_a_view_may_wait"](None)


def test_the_alarms_page_mails_the_admins_once(
    module: types.ModuleType, db: None, mailoutbox: list[Any]
) -> None:
    for code in snippets(ROOT / "docs/signals.md"):
        exec(code, module.__dict__)
    configured = logging.config.dictConfigClass(module.__dict__["LOGGING"])
    logger = logging.getLogger("jobs")
    before = logger.handlers[:], logger.level
    admins = [("Ada", "ada@example.com")] if django.VERSION < (6,) else ["ada@example.com"]
    try:
        configured.configure()
        with override_settings(ADMINS=admins):
            task_of_page = tasks.boom.using(max_attempts=2)
            task_of_page.enqueue("told")
            run_jobs()
            with travel(timedelta(hours=1)):
                run_jobs()
    finally:
        logger.handlers[:], logger.level = before

    [mail] = mailoutbox
    assert "tests.tasks.boom failed: ValueError: told" in mail.subject
    assert mail.to == ["ada@example.com"]


@pytest.mark.django_db
def test_jobs_come_from_sql_and_from_triggers_as_the_tasks_page_has_it(
    django_user_model: Any,
) -> None:
    text = (ROOT / "docs/tasks.md").read_text()
    blocks = re.findall(r"^```sql\n(.*?)^```", text, re.M | re.S)
    with connection.cursor() as cursor:
        for block in blocks:
            # Its percent signs, if any, are SQL's own.
            cursor.execute(block, None)
    user = django_user_model.objects.create(username="ada")

    greeting = Job.objects.get(task="shop.tasks.greet")
    mail = Job.objects.get(queue_name="mail")
    plain = Job.objects.get(task="shop.tasks.send_receipt", queue_name="default")
    assert (len(blocks), Job.objects.count()) == (3, 3)
    assert (plain.args, plain.state) == ([42], "queued")
    assert (mail.queue_name, mail.priority, mail.kwargs) == ("mail", 5, {"copy": True})
    assert mail in Job.objects.scheduled()
    assert greeting.args == [user.pk]


def test_enough_pages_have_snippets() -> None:
    assert sum(len(snippets(page)) for page in PAGES) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_within_the_docs_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]*)(?:#[\w-]+)?\)", page.read_text()):
        if target and "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_settings_page_has_every_setting_with_its_default() -> None:
    text = (ROOT / "docs/settings.md").read_text()

    assert settings_table() in text


def settings_table() -> str:
    rows = []
    for item in fields(conf.Settings):
        default = getattr(conf.Settings(), item.name)
        told = repr(default)
        if isinstance(default, timedelta):
            days, seconds = default.days, default.seconds
            told = f"timedelta(seconds={seconds})" if seconds else f"timedelta(days={days})"
        rows.append(f"| `{item.name.upper()}` | `{told}` | {item.metadata['meaning']} |")
    return "\n".join(rows)


def test_the_tasks_page_has_every_option() -> None:
    text = (ROOT / "docs/tasks.md").read_text()
    options = {item.name for item in fields(Task)} - {
        "func",
        "django",
        "declared",
        "given",
        "run_after",
    }

    assert {name for name in options if f"`{name}`" not in text} == set()
    assert {name for name in USING if f"`{name}`" not in text} == set()


def test_the_state_diagram_has_every_state_and_no_other() -> None:
    diagram = re.search(r"```mermaid\n(.*?)```", (ROOT / "docs/concepts.md").read_text(), re.S)
    assert diagram is not None
    named = set(re.findall(r"(\w+) --> |--> (\w+)", diagram[1]))

    assert {word for pair in named for word in pair if word} == set(State.values)


def test_the_tests_that_prove_the_guarantees_exist() -> None:
    rows = [
        line
        for line in (ROOT / "docs/guarantees.md").read_text().splitlines()
        if line.startswith("| ") and "proven by" not in line
    ]

    assert len(rows) > 15
    for row in rows:
        proofs = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert proofs, row
        for path, name in proofs:
            assert f"def {name}(" in (ROOT / path).read_text(), name


def test_the_running_page_has_every_option_of_the_worker() -> None:
    text = (ROOT / "docs/running.md").read_text()
    parser = load_command_class("jobs", "runworker").create_parser("manage.py", "runworker")
    own = [
        "queues",
        "exclude_queues",
        "processes",
        "threads",
        "coroutines",
        "grace_period",
        "drain",
        "autoscale",
        "max_jobs",
        "max_age",
        "max_memory",
        "reload",
        "burst",
        "beat",
        "name",
    ]
    options = {a.dest: a.option_strings for a in parser._actions if a.dest in own}

    assert set(options) == set(own)
    for strings in options.values():
        assert any(string in text for string in strings), strings


def test_the_admin_page_names_real_permissions() -> None:
    from django.apps import apps

    text = (ROOT / "docs/admin.md").read_text()
    real = {
        codename
        for model in apps.get_app_config("jobs").get_models()
        for codename in [
            *(permission[0] for permission in model._meta.permissions),
            *(f"{verb}_{model._meta.model_name}" for verb in model._meta.default_permissions),
        ]
    }

    assert set(re.findall(r"`jobs\.(\w+)`", text)) <= real


# What cannot be run without a Docker engine is at least read.


@pytest.fixture
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def test_the_compose_file_has_what_a_site_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]

    assert set(services) == {"database", "migrate", "site", "worker", "beat"}
    assert services["database"]["image"] == "postgres:18"
    assert services["worker"]["deploy"]["replicas"] == 2
    for name in ("database", "site", "worker", "beat"):
        assert "healthcheck" in services[name]
    # From 18 on, the image wants its volume one folder higher.
    assert services["database"]["volumes"] == ["database:/var/lib/postgresql"]


def test_the_compose_file_runs_commands_that_exist(compose: dict[str, Any]) -> None:
    from django.core.management import get_commands

    for service in compose["services"].values():
        if "command" in service:
            words = service["command"].split()
            assert words[:2] == ["python", "manage.py"]
            assert words[2] in get_commands()


def test_no_secret_stands_in_the_compose_file(compose: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()

    for line in text.splitlines():
        if re.search(r"PASSWORD|SECRET", line) and ":" in line:
            assert "${" in line, line
    example = (ROOT / ".env.example").read_text()
    for name in set(re.findall(r"\$\{(\w+)[:?]", text)):
        assert name in example, name


def test_the_dockerfile_copies_what_there_is() -> None:
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        copied = re.match(r"COPY (?:--\S+ )?(\S+) ", line)
        if copied:
            assert (ROOT / copied[1]).exists(), copied[1]
