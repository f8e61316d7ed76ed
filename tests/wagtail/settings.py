"""As Wagtail's own project template has them, on a database of its own, with jobs."""

from project.settings import DATABASES, DEFAULT_AUTO_FIELD, MIDDLEWARE, TEMPLATES

DATABASES["default"]["NAME"] = "wagtail"
SECRET_KEY = "for tests only"
INSTALLED_APPS = [
    "wagtail.contrib.forms",
    "wagtail.contrib.redirects",
    "wagtail.embeds",
    "wagtail.sites",
    "wagtail.users",
    "wagtail.snippets",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.search",
    "wagtail.admin",
    "wagtail",
    "modelcluster",
    "taggit",
    "django_filters",
    "rest_framework",
    "django_tasks",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "jobs",
]
ROOT_URLCONF = "tests.wagtail.urls"
STATIC_URL = "static/"
USE_TZ = True
WAGTAIL_SITE_NAME = "Airports"
WAGTAILADMIN_BASE_URL = "http://localhost"
WAGTAILSEARCH_BACKENDS = {"default": {"BACKEND": "wagtail.search.backends.database"}}

# All that is needed for Wagtail's tasks to run on jobs:
TASKS = {"default": {"BACKEND": "jobs.backend.JobsBackend"}}

__all__ = ["DATABASES", "DEFAULT_AUTO_FIELD", "MIDDLEWARE", "TEMPLATES"]
