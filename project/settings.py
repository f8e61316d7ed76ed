"""Settings of the example site. What differs between places comes from the environment."""

from datetime import timedelta
from pathlib import Path

import django
import environ

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=True)
# In DEBUG only; elsewhere a missing key is an error.
SECRET_KEY = env("SECRET_KEY", default="for-development-only" if DEBUG else environ.Env.NOTSET)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "jobs",
    "project.airports",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# DATABASE_URL names a PostgreSQL; without it, a private one runs in the folder .postgres.
if env.str("DATABASE_URL", default=""):
    DATABASES = {"default": env.db("DATABASE_URL")}
else:
    DATABASES = {
        "default": {
            "ENGINE": "project.private_postgres",
            "NAME": "postgres",
            "FOLDER": env.str("PRIVATE_POSTGRES", default=str(BASE_DIR / ".postgres")),
        }
    }
DATABASES["default"]["CONN_MAX_AGE"] = 60
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / ".static"
MEDIA_ROOT = env.str("MEDIA_ROOT", default=str(BASE_DIR / ".media"))

# Mail goes to files, to look at.
MAIL_FOLDER = env.str("MAIL_FOLDER", default=str(BASE_DIR / ".mail"))
_FILE_MAILER = "django.core.mail.backends.filebased.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _FILE_MAILER, "OPTIONS": {"file_path": MAIL_FOLDER}}}
else:
    EMAIL_BACKEND = _FILE_MAILER
    EMAIL_FILE_PATH = MAIL_FOLDER

JOBS = {
    "HEARTBEAT_INTERVAL": timedelta(seconds=5),
    "SCHEDULES": {
        "count airports by country": {
            "task": "project.airports.tasks.count_by_country",
            "schedule": "* * * * *",
        },
    },
}

# Where the async task of the tutorial finds the site itself.
SITE_URL = env.str("SITE_URL", default="http://127.0.0.1:8000")
