"""Pages as people see them: a real browser, where one is installed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.test import Client, override_settings
from django.urls import include, path
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from jobs.models import Job, Queue, Schedule
from jobs.testing import make_job
from tests.eventually import eventually
from tests.overviews import a_busy_hour


def watched(request: HttpRequest) -> HttpResponse:
    """A page of a site's own, about the only job there is."""
    drawn = Template("<title>x</title>{% load jobs %}{% job_progress job %}")
    return HttpResponse(drawn.render(Context({"job": Job.objects.get()})))


urlpatterns = [path("jobs/", include("jobs.urls")), path("watched/", watched)]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no chromium and chromedriver here"
)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1100",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield browser
    browser.quit()


@pytest.fixture
def browser(started: webdriver.Chrome, live_server: Any) -> Iterator[webdriver.Chrome]:
    """With somebody logged in who may do everything; what it complains of fails the test."""
    user = User.objects.create_superuser("ada", password="x")
    client = Client()
    client.force_login(user)
    started.get(f"{live_server.url}/admin/login/")
    started.get_log("browser")
    started.add_cookie({"name": "sessionid", "value": client.cookies["sessionid"].value})
    yield started
    told = [one["message"] for one in started.get_log("browser") if one["level"] == "SEVERE"]
    assert [one for one in told if "favicon.ico" not in one] == []


def test_the_next_runs_are_shown_as_one_types(
    browser: webdriver.Chrome, live_server: Any, tmp_path: Path
) -> None:
    browser.get(f"{live_server.url}/admin/jobs/schedule/add/")

    def shown(css: str) -> str:
        return browser.find_element(By.CSS_SELECTOR, f".jobs-preview {css}").text

    def is_visible(field: str) -> bool:
        return browser.find_element(By.CSS_SELECTOR, f".form-row.field-{field}").is_displayed()

    def choose(name: str, value: str) -> None:
        Select(browser.find_element(By.NAME, name)).select_by_value(value)

    choose("kind", "cron")
    choose("task", "tests.tasks.add")
    choose("timezone", "Europe/Berlin")
    line = browser.find_element(By.NAME, "line")
    line.send_keys("0 3 * * 1")
    eventually(lambda: "At 03:00, only on Monday" in shown(".jobs-words"))
    assert [run[:3] for run in shown("ol").splitlines()] == ["Mon"] * 10
    assert shown(".jobs-signature") == "add(a: 'int', b: 'int' = 1)"
    assert (is_visible("line"), is_visible("interval"), is_visible("event")) == (True, False, False)

    line.clear()
    line.send_keys("0 3 30 2 *")
    eventually(lambda: "names no date" in shown(".jobs-wrong"))
    assert shown("ol") == ""

    choose("kind", "interval")
    browser.find_element(By.NAME, "interval").send_keys("01:30:00")
    eventually(lambda: "Every 1 hour, 30 minutes" in shown(".jobs-words").replace("\xa0", " "))
    assert (is_visible("line"), is_visible("interval")) == (False, True)

    browser.find_element(By.NAME, "name").send_keys("it")
    args = browser.find_element(By.NAME, "args")
    args.clear()
    args.send_keys("[1]")
    browser.find_element(By.NAME, "_save").click()
    row = eventually(lambda: Schedule.objects.filter(name="it").first())
    assert row is not None
    assert row.rule.interval.total_seconds() == 5400


def test_the_overview_refreshes_by_itself_and_says_when_it_lost_touch(
    browser: webdriver.Chrome, live_server: Any
) -> None:
    a_busy_hour()
    # Without a wait of seconds between two requests.
    browser.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument",
        {"source": "const f = setTimeout; setTimeout = (g, t) => f(g, t / 20);"},
    )
    browser.get(f"{live_server.url}/admin/jobs/")

    # In one step each: an element that was found may have been replaced by the next.
    def text() -> str:
        return str(browser.execute_script("return document.body.innerText"))

    def lost() -> bool:
        return not browser.execute_script("return document.querySelector('.jobs-lost').hidden")

    assert "charge_card" in text()
    assert not lost()
    make_job("shop.tasks.new", queue_name="brand-new")
    Queue.objects.create(name="brand-new")
    eventually(lambda: "brand-new" in text())

    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    eventually(lost)
    browser.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        offline
        | {
            "offline": False,
            "downloadThroughput": -1,
            "uploadThroughput": -1,
        },
    )
    eventually(lambda: not lost())
    # What the browser said of the requests that failed is what was tested.
    browser.get_log("browser")


@override_settings(ROOT_URLCONF="tests.test_browser")
def test_progress_moves_on_the_sites_own_page_until_the_job_has_ended(
    started: webdriver.Chrome, live_server: Any
) -> None:
    job = make_job(state="running", progress_done=1, progress_total=10)
    started.get(f"{live_server.url}/watched/")
    started.execute_script(
        "document.addEventListener('jobs:finished', (e) => { document.title = e.detail.state; })"
    )

    def bar() -> float:
        return float(started.execute_script("return document.querySelector('progress').value"))

    assert bar() == 10
    row = Job.objects.filter(pk=job.pk)
    row.update(progress_done=6, progress_message="pages")
    eventually(lambda: bar() == 60)
    assert "6 / 10 pages" in started.execute_script("return document.body.innerText")
    row.update(state="succeeded", finished_at=Now(), progress_done=10)
    eventually(lambda: started.title == "succeeded")
    assert bar() == 100
