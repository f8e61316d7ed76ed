"""The site's settings, and what tests change."""

import os

from project.settings import *  # noqa: F403
from project.settings import DATABASES, INSTALLED_APPS, JOBS

INSTALLED_APPS = [*INSTALLED_APPS, "tests"]
JOBS = {key: value for key, value in JOBS.items() if key != "SCHEDULES"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Worker processes that a test starts use the test's own database.
if "JOBS_TEST_DATABASE" in os.environ:
    DATABASES["default"]["NAME"] = os.environ["JOBS_TEST_DATABASE"]
# Each test's connections are its own, and closed with it.
DATABASES["default"]["CONN_MAX_AGE"] = 0
