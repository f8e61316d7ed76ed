"""`manage.py jobs …`."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now

from jobs import beat
from jobs.models import Schedule

DATA = Path(__file__).parent / "data"


def told(*words: str, **options: Any) -> str:
    out = StringIO()
    call_command("jobs", *words, stdout=out, no_color=True, **options)
    return out.getvalue()


@pytest.mark.django_db
def test_schedules_are_listed_with_their_runs() -> None:
    assert told("schedules") == "no schedules\n"
    nightly = Schedule.objects.create(
        name="nightly", task="tests.tasks.noop", kind="cron", line="0 3 * * *"
    )
    Schedule.objects.create(name="off", task="t", kind="cron", line="0 3 * * *", enabled=False)
    Schedule.objects.create(name="gone", task="t", kind="cron", line="0 3 * * *", retired_at=Now())
    Schedule.objects.filter(name="off").update(problem="TaskNotFound: t", skips=3)
    beat.run_now(nightly)

    lines = told("schedules").splitlines()

    assert lines[0].split() == ["name", "task", "when", "next", "run", "last", "run", "runs"]
    assert "At 03:00" in lines[1]
    assert "once a beat has planned it" in lines[1]
    assert "queued" in lines[1]
    assert "disabled" in lines[2]
    assert lines[3].strip() == "TaskNotFound: t"
    assert "skipped 3 times" in lines[4]
    assert lines[5:] == ["(1 retired: --all shows them, too)"]
    assert "retired" in told("schedules", "--all")


@pytest.fixture
def celery_beat(db: None) -> None:
    """Its tables, with a periodic task of each kind."""
    with connection.cursor() as cursor:
        cursor.execute((DATA / "django_celery_beat_2_9.sql").read_text())


def columns(name: str, *columns: str) -> list[Any]:
    row = Schedule.objects.get(name=name)
    return [getattr(row, column) for column in columns]


def test_the_schedules_of_django_celery_beat_keep_their_meaning(celery_beat: None) -> None:
    text = told("import-celery-beat")

    assert "8 of 12 taken over" in text
    rule = ("kind", "line", "timezone", "days")
    assert columns("nightly", *rule) == ["cron", "0 3 * * *", "Europe/Berlin", "either"]
    assert columns("nightly", "queue_name", "description") == ["reports", "For the board"]
    # Where both are restricted, Celery wants both.
    assert columns("friday the 13th", *rule) == ["cron", "0 0 13 * fri", "UTC", "both"]
    ten = ["interval", timedelta(seconds=10), datetime(2026, 11, 1, 12, 0, 3, tzinfo=UTC)]
    assert columns("every ten seconds", "kind", "interval", "anchor") == ten
    kept = [{"args": [1], "kwargs": {"b": 2}}, timedelta(seconds=5)]
    assert columns("every ten seconds", "arguments", "expires_after") == kept
    later = [timedelta(days=2), False, datetime(2030, 1, 1, tzinfo=UTC)]
    assert columns("every two days", "interval", "enabled", "starts_at") == later
    assert columns("once", "kind", "anchor") == ["at", datetime(2031, 5, 1, 8, tzinfo=UTC)]
    sun = ["solar", "sunset", 52.52, 13.405]
    assert columns("sunset", "kind", "event", "latitude", "longitude") == sun
    until = ["*/15 8-17 * * 1-5", "America/New_York", datetime(2032, 1, 1, tzinfo=UTC)]
    assert columns("until then", "line", "timezone", "ends_at") == until
    assert columns("one more and no more", "line", "max_runs") == ["7 4 * * *", 1]
    assert set(Schedule.objects.values_list("source", flat=True)) == {"hand"}


def test_what_cannot_be_taken_over_is_told_with_the_reason(celery_beat: None) -> None:
    lines = told("import-celery-beat").splitlines()

    def reason(name: str) -> str:
        [line] = [line for line in lines if line.startswith("left ") and name in line]
        return line

    assert "shorter than one second" in reason("too often")
    assert "shop.tasks.gone" in reason("a stranger")
    assert "does not fit add(" in reason("does not fit")
    assert "Celery's own" in reason("celery.backend_cleanup")
    lost = [line.strip() for line in lines if "not taken over" in line]
    assert lost == [
        "not taken over: priority 3", "not taken over: exchange mail",
        'not taken over: headers {"x": 1}',
    ]  # fmt: skip


def test_a_dry_run_writes_nothing_and_a_second_run_changes_nothing(celery_beat: None) -> None:
    assert "8 of 12 would be taken over" in told("import-celery-beat", "--dry-run")
    assert not Schedule.objects.exists()

    told("import-celery-beat", "--disabled")
    assert not Schedule.objects.filter(enabled=True).exists()
    assert "0 of 12 taken over" in told("import-celery-beat")
    assert Schedule.objects.count() == 8


@pytest.mark.django_db
def test_without_its_tables_the_import_says_so() -> None:
    with pytest.raises(CommandError, match="no database 'old'"):
        told("import-celery-beat", "--from-database", "old")
    with pytest.raises(CommandError, match="cannot be read"):
        told("import-celery-beat")
