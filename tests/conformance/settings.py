"""The tests' settings, with the app that Django's tests of django.tasks live in."""

import django

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tasks"]
if django.VERSION < (6, 0):
    INSTALLED_APPS += ["django_tasks"]
