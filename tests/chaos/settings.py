"""A site that does nothing but jobs, with short patience, so that minutes show what hours would."""

import os
from datetime import timedelta

SECRET_KEY = "chaos"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "jobs", "tests.chaos"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["CHAOS_HOST"],
        "NAME": "postgres",
        "USER": os.environ.get("CHAOS_USER", "postgres"),
        "CONN_MAX_AGE": None,
    }
}
# In seconds.
TIMEOUT = float(os.environ.get("CHAOS_TIMEOUT", "6"))
JOBS = {
    "HEARTBEAT_INTERVAL": timedelta(seconds=TIMEOUT / 6),
    "HEARTBEAT_TIMEOUT": timedelta(seconds=TIMEOUT),
    "INTERRUPT_GRACE": timedelta(seconds=1),
    "GRACE_PERIOD": timedelta(seconds=5),
    # Innocent jobs meet many kills here.
    "MAX_LOSSES": 1000,
}
if "CHAOS_TICKS" in os.environ:
    JOBS["SCHEDULES"] = {
        "each second": {"task": "tests.chaos.tasks.tick", "schedule": timedelta(seconds=1)}
    }
# A cable that is cut is noticed sooner than the worker's own defaults would.
if "CHAOS_DEAF" in os.environ:
    seconds = int(os.environ["CHAOS_DEAF"])
    DATABASES["default"]["OPTIONS"] = {
        "tcp_user_timeout": seconds * 1000,
        "keepalives_idle": 1,
        "keepalives_interval": 1,
        "keepalives_count": seconds,
        "connect_timeout": seconds,
    }
# Through a proxy that reads the protocol.
if "CHAOS_PORT" in os.environ:
    DATABASES["default"]["PORT"] = os.environ["CHAOS_PORT"]
    DATABASES["default"]["OPTIONS"] = {"sslmode": "disable", "gssencmode": "disable"}
