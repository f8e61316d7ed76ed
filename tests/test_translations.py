"""Catalogues: whole, compiled, and used by the pages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from gettext import GNUTranslations
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils.translation import gettext, override

from jobs.models import Schedule
from jobs.testing import make_job
from tests.workers import ROOT

LANGUAGES = ["de", "es", "fr", "zh_Hans"]
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[sd]")


def compiled(language: str) -> dict[Any, str]:
    file = ROOT / f"jobs/locale/{language}/LC_MESSAGES/django.mo"
    with file.open("rb") as opened:
        found = dict(GNUTranslations(opened)._catalog)  # type: ignore[attr-defined]
    found.pop("", None)
    return found


def messages(text: str) -> set[str]:
    """The ids of a catalogue's source."""
    found = re.findall(r'^msgid (".*"(?:\n".*")*)', text, re.M)
    joined = {"".join(re.findall(r'"(.*)"', one)) for one in found}
    return {one.replace('\\"', '"') for one in joined if one}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_message_is_translated_and_compiled_with_its_placeholders(language: str) -> None:
    source = (ROOT / f"jobs/locale/{language}/LC_MESSAGES/django.po").read_text()
    there = compiled(language)

    assert {one if isinstance(one, str) else one[0] for one in there} == messages(source)
    assert "fuzzy" not in source
    plurals = dict(re.findall(r'^msgid "(.*)"\nmsgid_plural "(.*)"', source, re.M))
    for message, translated in there.items():
        assert translated.strip(), message
        if isinstance(message, str):
            assert sorted(PLACEHOLDER.findall(translated)) == sorted(PLACEHOLDER.findall(message))
        else:
            allowed = set(PLACEHOLDER.findall(plurals[message[0]]))
            assert set(PLACEHOLDER.findall(translated)) <= allowed, translated


@pytest.mark.skipif(not shutil.which("xgettext"), reason="gettext is not installed")
def test_no_message_of_the_code_is_missing(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "jobs", tmp_path / "jobs", ignore=shutil.ignore_patterns("locale"))
    (tmp_path / "jobs/locale").mkdir()
    subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "-l", "de", "--no-location", "--no-wrap"],
        cwd=tmp_path / "jobs",
        check=True,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    made = (tmp_path / "jobs/locale/de/LC_MESSAGES/django.po").read_text()

    for language in LANGUAGES:
        kept = (ROOT / f"jobs/locale/{language}/LC_MESSAGES/django.po").read_text()
        assert messages(made) == messages(kept), "run make messages"


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["de", "es", "fr", "zh-hans"])
def test_the_pages_speak_the_viewers_language(language: str) -> None:
    client = Client(headers={"accept-language": language})
    client.force_login(User.objects.create_superuser("ada"))
    failed = make_job(state="failed")
    row = Schedule.objects.create(
        name="it", task="tests.tasks.noop", kind="cron", line="0 3 * * *", enabled=True
    )
    addresses = [
        reverse("admin:jobs_job_changelist"),
        reverse("admin:jobs_job_change", args=[failed.pk]),
        reverse("admin:jobs_queue_changelist"),
        reverse("admin:jobs_schedule_changelist"),
        reverse("admin:jobs_schedule_change", args=[row.pk]),
    ]
    text = "".join(client.get(address).content.decode() for address in addresses).lower()

    with override(language):
        for word in ("task", "queue", "schedule", "failed", "next run", "What came of it"):
            assert gettext(word).lower() in text, word
