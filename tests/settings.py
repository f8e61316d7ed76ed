"""The site's settings, and what tests change."""

import ast
import os
from datetime import timedelta

from project.settings import *  # noqa: F403
from project.settings import DATABASES, INSTALLED_APPS, JOBS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "tests"]
MIDDLEWARE = [*MIDDLEWARE, "tests.csp.ContentSecurityPolicy"]
JOBS = {key: value for key, value in JOBS.items() if key != "SCHEDULES"}
TASKS = {"default": {"BACKEND": "jobs.backend.JobsBackend", "QUEUES": []}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# For what is kept elsewhere than the site's own data.
DATABASES["second"] = {**DATABASES["default"], "NAME": "second"}
# Worker processes that a test starts use the test's own databases.
if "JOBS_TEST_DATABASE" in os.environ:
    DATABASES["default"]["NAME"] = os.environ["JOBS_TEST_DATABASE"]
    DATABASES["second"]["NAME"] = os.environ["JOBS_TEST_SECOND"]
# Rescue by another worker takes a heartbeat timeout: tests do not wait half a minute.
if "JOBS_TEST_HEARTBEAT" in os.environ:
    JOBS["HEARTBEAT_INTERVAL"] = timedelta(seconds=float(os.environ["JOBS_TEST_HEARTBEAT"]))
    JOBS["HEARTBEAT_TIMEOUT"] = 5 * JOBS["HEARTBEAT_INTERVAL"]
# Nor for what takes minutes elsewhere: JOBS_TEST_STUCK_AFTER="2", in seconds.
for key in (
    "INTERRUPT_GRACE",
    "POLL_INTERVAL",
    "PRUNE_INTERVAL",
    "RETIRE_AFTER",
    "STUCK_AFTER",
    "UNKNOWN_TASK_PATIENCE",
):
    if f"JOBS_TEST_{key}" in os.environ:
        JOBS[key] = timedelta(seconds=float(os.environ[f"JOBS_TEST_{key}"]))
if "JOBS_TEST_KEEP_LOG" in os.environ:
    JOBS["KEEP_LOG"] = os.environ["JOBS_TEST_KEEP_LOG"]
if "JOBS_TEST_PGBOUNCER" in os.environ:
    DATABASES["default"] |= {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": os.environ["JOBS_TEST_PGBOUNCER"],
        "USER": "anybody",
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }
    JOBS["TRANSACTION_POOLING"] = True
if "JOBS_TEST_POOL" in os.environ:
    DATABASES["default"]["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 4}}
if "JOBS_TEST_EVERY_SECOND" in os.environ:
    JOBS["SCHEDULES"] = {
        "each second": {"task": "tests.tasks.noop", "schedule": timedelta(seconds=1)}
    }
# Each test's connections are its own, and closed with it.
for database in DATABASES.values():
    database["CONN_MAX_AGE"] = int(os.environ.get("JOBS_TEST_AGE", "0"))
    if "JOBS_TEST_HEALTH_CHECKS" in os.environ:
        database["CONN_HEALTH_CHECKS"] = True
# A mistake.
if "JOBS_TEST_JOBS" in os.environ:
    JOBS = ast.literal_eval(os.environ["JOBS_TEST_JOBS"])
