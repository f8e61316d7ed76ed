"""What `tests/test_unfold.py` runs, with these settings."""

import os
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from jobs.models import Job
from tests.overviews import a_shop, pages, pictures
from tests.test_browser import browser, press, started, text_of

__all__ = ["browser", "started"]


def test_pages_fit_and_are_looked_at(
    browser: webdriver.Chrome, live_server: Any, tmp_path: Path
) -> None:
    addresses = pages(a_shop())
    themes = ["dark", "light"] if "PICTURES" in os.environ else ["light"]
    browser.set_window_size(1400, 1500)
    for theme in themes:
        for name, address in addresses.items():
            browser.get(f"{live_server.url}/admin/jobs/{address}")
            dark = "document.documentElement.classList.toggle('dark', arguments[0])"
            browser.execute_script(dark, theme == "dark")
            browser.save_screenshot(str(pictures(tmp_path) / f"{name}-unfold-{theme}.png"))
            asked = "const d = document.documentElement; return d.scrollWidth - d.clientWidth"
            assert browser.execute_script(asked) <= 0, name


def test_failed_jobs_are_selected_and_retried(browser: webdriver.Chrome, live_server: Any) -> None:
    a_shop()
    failed = Job.objects.failed().count()
    browser.get(f"{live_server.url}/admin/jobs/job/?state=failed")
    for box in browser.find_elements(By.CSS_SELECTOR, "input.action-select")[:2]:
        box.click()
    Select(browser.find_element(By.NAME, "action")).select_by_value("retry")
    press(browser, "button[name=index]")
    assert "will be queued again" in text_of(browser)
    press(browser, "button.default")

    assert "2 jobs are queued again." in text_of(browser)
    assert Job.objects.failed().count() == failed - 2


def test_a_queue_is_paused(browser: webdriver.Chrome, live_server: Any) -> None:
    a_shop()
    browser.get(f"{live_server.url}/admin/jobs/")
    press(browser, "button[aria-label='Pause payments…']")
    browser.find_element(By.NAME, "because").send_keys("the bank is down")
    press(browser, "button.default")

    assert "by ada · the bank is down" in text_of(browser)
