"""The app: what Django does with it when it starts. No query here."""

from __future__ import annotations

import sys
from typing import Any

from django.apps import AppConfig
from django.core.signals import setting_changed
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class JobsConfig(AppConfig):
    name = "jobs"
    label = "jobs"
    verbose_name = _("Jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks, lifecycle  # noqa: F401  (registers the checks)
        from .tasks import followers

        lifecycle.said_by(followers)

        autodiscover_modules("tasks")
        _follow_immediate()
        setting_changed.connect(_follow_immediate, dispatch_uid="jobs.immediate")
        post_migrate.connect(_complete_storage, sender=self, dispatch_uid="jobs.storage")
        post_migrate.connect(_declare_schedules, sender=self, dispatch_uid="jobs.schedules")


def _follow_immediate(*, setting: str = "JOBS", **_: Any) -> None:
    """Run jobs immediately if JOBS["IMMEDIATE"] is set. Else nothing is imported for it."""
    from . import conf

    is_immediate = not conf.check() and conf.settings().immediate
    if setting == "JOBS" and (is_immediate or "jobs.testing.inline" in sys.modules):
        from .testing.inline import follow_setting

        follow_setting(is_immediate)


def _complete_storage(*, using: str, apps: Any = None, **_: Any) -> None:
    """Where tables were made from the models alone, make what those cannot say."""
    from . import conf
    from .models.storage import complete

    if not conf.check() and using == conf.settings().database:
        complete(using)


def _declare_schedules(*, using: str, apps: Any = None, **_: Any) -> None:
    """Bring the schedules' rows in step with what is declared, once their table is as new as
    this code."""
    from . import conf
    from .beat import synchronise
    from .models import Schedule

    # A flush, too, sends the signal: without apps.
    if apps is None or conf.check() or using != conf.settings().database:
        return
    try:
        migrated = apps.get_model("jobs", "Schedule")
    except LookupError:
        return
    if {field.name for field in Schedule._meta.fields} <= {f.name for f in migrated._meta.fields}:
        synchronise()
