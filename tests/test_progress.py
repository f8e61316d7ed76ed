"""Progress on the site's own pages: a tag, and where its script asks."""

from __future__ import annotations

from typing import Any

import pytest
from django.template import Context, Template
from django.test import Client, override_settings
from django.urls import include, path

from jobs.testing import make_job
from jobs.views import token_of

urlpatterns = [path("jobs/", include("jobs.urls"))]
pytestmark = pytest.mark.django_db
with_urls = override_settings(ROOT_URLCONF="tests.test_progress")


def drawn(job: Any) -> str:
    return Template("{% load jobs %}{% job_progress job %}").render(Context({"job": job}))


@with_urls
def test_whoever_was_shown_the_page_may_ask_how_far_the_job_has_come() -> None:
    job = make_job(state="running", progress_done=3, progress_total=12, progress_message="<pages>")
    text = drawn(job)
    url = text.partition('data-url="')[2].partition('"')[0]
    answer = Client().get(url)

    assert 'value="25"' in text
    assert "3 of 12 &lt;pages&gt;" in text
    assert "jobs/progress.js" in text
    assert answer.json() == {
        "state": "running", "told": "running", "is_finished": False, "done": 3.0, "total": 12.0,
        "percent": 25.0, "message": "<pages>",
    }  # fmt: skip
    assert answer["Cache-Control"] == "no-store"


@with_urls
def test_nobody_asks_about_a_job_whose_page_they_were_not_shown() -> None:
    job = make_job(state="running")
    good = token_of(job.pk)

    for token in (str(job.pk), good[:-1] + ("a" if good[-1] != "a" else "b"), "x"):
        assert Client().get(f"/jobs/progress/{token}/").status_code == 404
    job.delete()
    assert Client().get(f"/jobs/progress/{good}/").status_code == 404


@with_urls
def test_a_job_that_has_ended_is_drawn_and_asked_about_no_more() -> None:
    text = drawn(make_job(state="failed"))

    assert "failed" in text
    assert "data-url" not in text
    assert "<script" not in text


def test_without_the_urls_it_is_drawn_once() -> None:
    text = drawn(make_job(state="running", progress_done=5))

    assert "5" in text
    assert "data-url" not in text
