"""The commands: what they take, and what they refuse."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand, SystemCheckError
from django.test import override_settings

from jobs.management import console
from jobs.management.commands import runbeat, runworker


@pytest.mark.parametrize("command", [runworker.Command(), runbeat.Command()])
def test_help_helps(command: BaseCommand) -> None:
    text = command.create_parser("manage.py", "x").format_help()

    assert "Ctrl-C" in text


@pytest.mark.parametrize("option", ["--processes", "--threads", "--coroutines"])
def test_none_of_something_is_refused(option: str) -> None:
    with pytest.raises(CommandError, match="must be at least 1"):
        call_command("runworker", option, "0", stdout=StringIO())


def test_a_queue_that_is_not_listed_is_refused() -> None:
    with (
        override_settings(JOBS={"QUEUES": ["default"]}),
        pytest.raises(CommandError, match="no queue 'mail'; it has default"),
    ):
        call_command("runworker", "-Q", "mail", stdout=StringIO())


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["runworker", "runbeat"])
def test_without_its_tables_a_command_says_to_migrate(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a query for columns finds where there are no tables of jobs.
    monkeypatch.setattr(console, "_COLUMNS", "SELECT 'a', 'b' WHERE false")

    with pytest.raises(CommandError, match=r"run manage\.py migrate"):
        call_command(command, stdout=StringIO())


def test_a_mistake_in_the_settings_is_told_by_the_checks_and_not_by_a_traceback() -> None:
    with override_settings(JOBS={"THREDS": 4}), pytest.raises(SystemCheckError, match="THREADS"):
        call_command("runworker", stdout=StringIO(), skip_checks=False)


def test_options_are_read_as_they_are_said() -> None:
    command = runworker.Command()
    given = command.create_parser("manage.py", "runworker").parse_args(
        ["-Q", "a, b", "-X", "c", "--threads", "3", "--grace-period", "1.5", "--name", "w"]
    )

    options = command._options(vars(given))

    assert (options.queues, options.excluded_queues) == (("a", "b"), ("c",))
    assert (options.threads, options.grace_period.total_seconds(), options.name) == (3, 1.5, "w")
    assert [name for name in "abcd" if options.serves(name)] == ["a", "b"]
