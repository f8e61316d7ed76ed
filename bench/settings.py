"""The smallest site that has jobs: for this project's own side of each measurement."""

import os

SECRET_KEY = "bench"  # noqa: S105
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "jobs", "bench"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["BENCH_HOST"],
        "PORT": os.environ.get("BENCH_PORT", ""),
        "NAME": os.environ["BENCH_DATABASE"],
        "USER": "postgres",
        # As a site that serves requests would have it.
        "CONN_MAX_AGE": None,
    }
}
# How much a wake-up costs is measured by doing without.
JOBS = {"LISTEN": os.environ.get("BENCH_LISTEN", "1") == "1"}
