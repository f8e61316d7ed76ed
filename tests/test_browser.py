"""Pages as people see them: a real browser, where one is installed."""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
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
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from selenium_axe_python import Axe

from jobs import enqueue_many
from jobs.models import Job, Queue, Schedule
from jobs.testing import make_job
from tests import tasks
from tests.eventually import eventually
from tests.overviews import a_busy_hour, a_shop, pages, pictures
from tests.test_admin import user_with
from tests.workers import WorkerProcess


def watched(request: HttpRequest) -> HttpResponse:
    """A page of a site's own, about the only job there is."""
    drawn = Template("<title>x</title>{% load jobs %}{% job_progress job %}")
    return HttpResponse(drawn.render(Context({"job": Job.objects.get()})))


def careless(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<title>x</title><script>document.title = 'y'</script>")


urlpatterns = [
    path("jobs/", include("jobs.urls")),
    path("watched/", watched),
    path("careless/", careless),
]
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


def log_in(browser: webdriver.Chrome, server: str, user: User) -> None:
    client = Client()
    client.force_login(user)
    browser.get(f"{server}/admin/login/")
    browser.get_log("browser")
    browser.delete_all_cookies()
    browser.add_cookie({"name": "sessionid", "value": client.cookies["sessionid"].value})


def complaints(browser: webdriver.Chrome) -> list[str]:
    """Errors in its console; what breaks the content security policy is one."""
    told = [one["message"] for one in browser.get_log("browser") if one["level"] == "SEVERE"]
    return [one for one in told if "favicon.ico" not in one]


@pytest.fixture
def browser(started: webdriver.Chrome, live_server: Any) -> Iterator[webdriver.Chrome]:
    """With somebody logged in who may do everything; what it complains of fails the test."""
    log_in(started, live_server.url, User.objects.create_superuser("ada", password="x"))
    yield started
    assert complaints(started) == []
    started.set_window_size(1280, 1100)


def text_of(browser: webdriver.Chrome) -> str:
    # In one step: an element that was found may have been replaced by the next.
    return str(browser.execute_script("return document.body.innerText"))


def press(browser: webdriver.Chrome, css: str) -> None:
    """Found and clicked in one step, and the next page is there. A script may have replaced it."""
    before = browser.find_element(By.TAG_NAME, "html")

    def is_new() -> bool:
        page = browser.find_element(By.TAG_NAME, "html")
        return page != before and browser.execute_script("return document.readyState") == "complete"

    browser.execute_script(f"document.querySelector({css!r}).click()")
    eventually(is_new)


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
    # What is shown above it may just move it.
    press(browser, "[name=_save]")
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


def test_a_page_that_breaks_the_policy_is_complained_of(
    started: webdriver.Chrome, live_server: Any
) -> None:
    with override_settings(ROOT_URLCONF="tests.test_browser"):
        started.get(f"{live_server.url}/careless/")

    assert "Content Security Policy" in "".join(complaints(started))
    assert started.title == "x"


def test_a_running_job_is_watched_and_cancelled(
    browser: webdriver.Chrome, live_server: Any, start_worker: Callable[..., WorkerProcess]
) -> None:
    job = tasks.counts_on.enqueue(60)
    start_worker("--processes", "1")
    eventually(lambda: Job.objects.get(pk=job.pk).progress_done)
    browser.get(f"{live_server.url}/admin/jobs/job/{job.pk}/change/")

    def bar() -> float:
        asked = "const bar = document.querySelector('progress'); return bar ? bar.value : 0"
        return float(browser.execute_script(asked))

    first = eventually(bar)
    eventually(lambda: bar() > first)
    press(browser, "form.jobs-verb button")
    assert "told to stop" in text_of(browser)
    browser.find_element(By.NAME, "because").send_keys("seen enough")
    press(browser, "button.jobs-destroys")
    assert browser.current_url.endswith(f"/{job.pk}/change/")
    # Without anybody reading the page again.
    eventually(lambda: "by ada seen enough" in text_of(browser))
    shown = "return document.querySelector('.jobs-life-box').dataset.state"
    eventually(lambda: browser.execute_script(shown) == "cancelled")
    job.refresh()
    assert (job.state, job.cancelled_because) == ("cancelled", "seen enough")


def test_what_a_job_logs_is_read_while_it_runs_and_searched(
    browser: webdriver.Chrome, live_server: Any, start_worker: Callable[..., WorkerProcess]
) -> None:
    job = tasks.logs.enqueue("card", lines=12, and_then="wait")
    start_worker("--processes", "1")
    eventually(lambda: job.logs.exists())
    browser.get(f"{live_server.url}/admin/jobs/job/{job.pk}/change/")

    def lines() -> list[str]:
        told = browser.execute_script(
            "return [...document.querySelectorAll('.jobs-log > span:not([hidden])')]"
            ".map((one) => one.innerText)"
        )
        return [line.rpartition(": ")[2] for line in told]

    assert lines() == [f"card {i}" for i in range(1, 13)]
    # In one step: it may be replaced until somebody is in it.
    browser.execute_script("document.querySelector('.jobs-log-search').focus()")
    ActionChains(browser).send_keys("CARD 1").perform()
    assert lines() == ["card 1", "card 10", "card 11", "card 12"]
    # It is read anew when the field is left, and the words stay.
    job.logs.update(text="2026-01-01T00:00:00.000Z INFO x: card 1\nfurther\nno", lines=3)
    browser.execute_script("document.activeElement.blur()")
    eventually(lambda: lines() == ["card 1\nfurther\nno"])
    job.cancel()


def test_a_failed_job_is_retried_and_an_ended_one_run_again(
    browser: webdriver.Chrome, live_server: Any
) -> None:
    failed = make_job(tasks.noop, state="failed", error=OSError("disk full"))
    browser.get(f"{live_server.url}/admin/jobs/job/{failed.pk}/change/")
    assert "OSError: disk full" in text_of(browser)

    press(browser, "form.jobs-verb button")
    assert "It is queued again." in text_of(browser)
    failed.refresh()
    assert failed.state == "queued"

    done = make_job(tasks.noop, state="succeeded")
    browser.get(f"{live_server.url}/admin/jobs/job/{done.pk}/change/")
    press(browser, "a.jobs-button")
    assert "What it did will be done once more." in text_of(browser)
    assert Job.objects.count() == 2
    press(browser, "button.default")
    assert "It is queued again, as this new job." in text_of(browser)
    assert Job.objects.latest("id").metadata["again_of"] == str(done.pk)


def test_an_argument_is_changed_and_the_job_run_again(
    browser: webdriver.Chrome, live_server: Any
) -> None:
    failed = make_job(tasks.add, [2], {"b": 3}, state="failed")
    browser.get(f"{live_server.url}/admin/jobs/job/{failed.pk}/again/")
    field = browser.find_element(By.NAME, "arg-b")
    assert (field.get_attribute("type"), field.get_attribute("value")) == ("number", "3")
    field.clear()
    press(browser, "button.default")
    assert "This field is required." in text_of(browser)
    browser.find_element(By.NAME, "arg-b").send_keys("40")
    press(browser, "button.default")

    assert "with another b" in text_of(browser)
    made = Job.objects.latest("id")
    assert (made.args, made.kwargs, made.metadata["changed"]) == ([2], {"b": 40}, ["b"])


def test_what_is_much_is_done_in_the_background_and_watched(
    browser: webdriver.Chrome, live_server: Any, start_worker: Callable[..., WorkerProcess]
) -> None:
    enqueue_many(tasks.noop.using(queue_name="nobodys"), [()] * 2_500)
    start_worker("--processes", "1", "-Q", "default").until_ready()
    browser.get(f"{live_server.url}/admin/jobs/job/?queue=nobodys")
    browser.find_element(By.ID, "action-toggle").click()
    browser.find_element(By.CSS_SELECTOR, ".actions .question a").click()
    Select(browser.find_element(By.NAME, "action")).select_by_value("cancel")
    press(browser, ".actions button[name=index]")
    assert "a worker does it in the background" in text_of(browser)
    press(browser, "button.jobs-destroys")

    press(browser, ".messagelist a")
    eventually(lambda: "2500 of 2500" in text_of(browser))
    shown = "return document.querySelector('.jobs-life-box').dataset.state"
    eventually(lambda: browser.execute_script(shown) == "succeeded")
    assert Job.objects.cancelled().count() == 2_500


def test_a_queue_is_paused_with_a_reason_and_resumed_from_the_overview(
    browser: webdriver.Chrome, live_server: Any
) -> None:
    a_busy_hour()
    browser.get(f"{live_server.url}/admin/jobs/")

    press(browser, "button[aria-label='Pause payments…']")
    assert "No worker will start a job of the queue payments" in text_of(browser)
    browser.find_element(By.NAME, "because").send_keys("the bank is down")
    press(browser, "button.default")

    assert browser.current_url == f"{live_server.url}/admin/jobs/"
    assert "Paused: payments. Running jobs go on." in text_of(browser)
    assert "by ada · the bank is down" in text_of(browser)
    assert Queue.objects.get(name="payments").is_paused
    press(browser, "button[aria-label='Resume payments']")
    assert "Resumed: payments." in text_of(browser)
    assert not Queue.objects.get(name="payments").is_paused


def test_failures_are_filtered_and_retried_all_at_once(
    browser: webdriver.Chrome, live_server: Any
) -> None:
    for i in range(70):
        make_job("shop.tasks.charge", state="failed", error=KeyError("b") if i < 10 else OSError())
    browser.get(f"{live_server.url}/admin/jobs/job/")

    press(browser, ".jobs-tabs a[href='?state=failed']")
    press(browser, "#changelist-filter a[href*='error=builtins.OSError']")
    browser.find_element(By.ID, "action-toggle").click()
    browser.find_element(By.CSS_SELECTOR, ".actions .question a").click()
    Select(browser.find_element(By.NAME, "action")).select_by_value("retry")
    press(browser, ".actions button[name=index]")
    assert "state: failed, error: OSError" in text_of(browser)
    assert Job.objects.failed().count() == 70
    press(browser, "button.default")

    assert "60 jobs are queued again." in text_of(browser)
    assert (Job.objects.queued().count(), Job.objects.failed().count()) == (60, 10)


def test_a_kind_of_failures_is_looked_at_and_silenced(
    browser: webdriver.Chrome, live_server: Any
) -> None:
    for i in range(3):
        make_job("shop.tasks.charge", state="failed", error=OSError(f"disk {i} full"))
    browser.get(f"{live_server.url}/admin/jobs/job/kinds/")
    press(browser, "#content-main th[scope=row] a")
    for words in ("OSError", "disk 0 full", "disk 2 full", "3 like this"):
        assert words in text_of(browser)
    press(browser, "a.jobs-button")
    browser.find_element(By.NAME, "because").send_keys("the disk is on its way")
    press(browser, "button.default")

    assert "by ada · the disk is on its way" in text_of(browser)
    press(browser, "form[action*='/hear/'] button")
    assert "Alarms tell of these failures again." in text_of(browser)


def test_staff_with_few_permissions_see_no_verbs_and_no_payloads(
    started: webdriver.Chrome, live_server: Any
) -> None:
    a_busy_hour()
    job = make_job(tasks.plain, ["secret"], state="failed", error=OSError("disk full"))
    log_in(started, live_server.url, user_with("view_job"))

    started.get(f"{live_server.url}/admin/jobs/job/{job.pk}/change/")
    text = text_of(started)
    assert "failed" in text
    for hidden in ("secret", "disk full", "RETRY", "RUN AGAIN"):
        assert hidden not in text
    started.get(f"{live_server.url}/admin/jobs/job/")
    assert started.find_elements(By.NAME, "action") == []
    started.get(f"{live_server.url}/admin/jobs/")
    text = text_of(started)
    assert "charge_card" in text
    assert "402" not in text
    assert started.find_elements(By.CSS_SELECTOR, ".jobs-overview button") == []
    assert complaints(started) == []


def test_nobody_is_led_to_the_login(started: webdriver.Chrome, live_server: Any) -> None:
    job = make_job(state="failed")
    started.get(f"{live_server.url}/admin/login/")
    started.delete_all_cookies()
    for address in ("", "job/", f"job/{job.pk}/change/", "queue/", "pausedtask/add/"):
        started.get(f"{live_server.url}/admin/jobs/{address}")
        assert "/admin/login/" in started.current_url
    assert complaints(started) == []


def barriers(browser: webdriver.Chrome, of_colour_only: bool) -> list[tuple[str, str]]:
    """What axe-core finds, (rule, where)."""
    axe = Axe(browser)
    axe.inject()
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if of_colour_only:
        options["runOnly"] = ["color-contrast", "link-in-text-block"]
    found = axe.run(options=options)["violations"]
    # It styles the page to look at it, which the policy refuses.
    browser.get_log("browser")
    return [(one["id"], node["html"][:200]) for one in found for node in one["nodes"]]


def test_pages_read_from_right_to_left(
    browser: webdriver.Chrome, live_server: Any, tmp_path: Path
) -> None:
    jobs = a_shop()
    browser.add_cookie({"name": "django_language", "value": "ar"})
    for width in (430, 1400):
        for name in ("overview", "failed", "kind", "job", "again"):
            browser.set_window_size(width, 1500)
            browser.get(f"{live_server.url}/admin/jobs/{pages(jobs)[name]}")
            browser.save_screenshot(str(pictures(tmp_path) / f"{name}-rtl-{width}.png"))
            assert browser.execute_script("return document.documentElement.dir") == "rtl"
            asked = "const d = document.documentElement; return d.scrollWidth - d.clientWidth"
            assert browser.execute_script(asked) <= 0, (name, width)
            # What is code reads from the left all the same.
            for code in browser.find_elements(By.CSS_SELECTOR, ".jobs-traceback, code"):
                assert code.value_of_css_property("direction") == "ltr"


def test_all_is_reached_by_the_keyboard(browser: webdriver.Chrome, live_server: Any) -> None:
    failed = make_job(tasks.noop, state="failed", error=OSError("disk full"))
    browser.get(f"{live_server.url}/admin/jobs/job/{failed.pk}/change/")

    def focused() -> str:
        return str(browser.execute_script("return document.activeElement.innerText")).strip()

    seen = []
    while "Retry" not in [one.title() for one in seen]:
        ActionChains(browser).send_keys(Keys.TAB).perform()
        seen.append(focused())
        assert len(seen) < 80, seen
    before = browser.find_element(By.TAG_NAME, "html")
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    eventually(lambda: browser.find_element(By.TAG_NAME, "html") != before)
    eventually(lambda: "It is queued again." in text_of(browser))


def test_moments_are_shown_in_the_zone_of_the_browser(
    browser: webdriver.Chrome, live_server: Any
) -> None:
    job = make_job(enqueued_at=datetime(2026, 1, 1, 15, 4, tzinfo=UTC))
    url = f"{live_server.url}/admin/jobs/job/{job.pk}/change/"
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"})
    try:
        browser.get(url)
        browser.get(url)
        assert "2026-01-02 00:04:00" in text_of(browser)
        assert "(Asia/Tokyo)" in text_of(browser)
    finally:
        browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def test_pages_fit_a_small_screen_and_read_without_a_script(
    browser: webdriver.Chrome, live_server: Any, tmp_path: Path
) -> None:
    jobs = a_shop()
    wrong: list[tuple[str, ...]] = []
    looks = [(430, "light"), (430, "dark"), (1400, "dark"), (1400, "light")]
    for width, theme in looks if "PICTURES" in os.environ else (looks[0], *looks[2:]):
        browser.set_window_size(width, 900)
        for name, address in pages(jobs).items():
            browser.get(f"{live_server.url}/admin/jobs/{address}")
            browser.execute_script(f"document.documentElement.dataset.theme = '{theme}'")
            if "PICTURES" in os.environ:
                whole = browser.execute_script("return document.documentElement.scrollHeight")
                # And what the window has around the page.
                most = 1000 if name in ("jobs", "failed") else 2400
                browser.set_window_size(width, min(most, whole + 145))
                browser.save_screenshot(str(pictures(tmp_path) / f"{name}-{theme}-{width}.png"))
            asked = "const d = document.documentElement; return d.scrollWidth - d.clientWidth"
            assert browser.execute_script(asked) <= 0, (name, width)
            if width == 1400:
                # Django's links change their colour over 0.15 s.
                moving = "return document.getAnimations().length"
                eventually(lambda asked=moving: browser.execute_script(asked) == 0)
                # Of the dark theme, only what depends on it.
                wrong += [(name, theme, *one) for one in barriers(browser, theme == "dark")]
    assert wrong == []
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(f"{live_server.url}/admin/jobs/")
        assert "charge_card" in browser.find_element(By.TAG_NAME, "body").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
