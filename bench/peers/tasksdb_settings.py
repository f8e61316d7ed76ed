"""The smallest site with django-tasks-db."""

from bench.settings import *  # noqa: F403

INSTALLED_APPS = ["django.contrib.contenttypes", "django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
