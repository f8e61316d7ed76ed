"""The site's settings, and what tests change."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS, JOBS

INSTALLED_APPS = [*INSTALLED_APPS, "tests"]
JOBS = {key: value for key, value in JOBS.items() if key != "SCHEDULES"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
