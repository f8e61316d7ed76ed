"""System checks: what would go wrong later is said at start-up, with its cure (docs/checks.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register

from jobs import conf

from . import definitions, deployment, server, site

__all__ = ["check_database", "check_deployment", "check_settings"]


@register("jobs")
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """JOBS itself, then what depends on it being right."""
    wrong: list[CheckMessage] = [
        Error(message, hint=hint, id="jobs.E001") for message, hint in conf.check()
    ]
    return wrong or [*site.problems(), *definitions.problems()]


@register("jobs", deploy=True)
def check_deployment(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """With `check --deploy`: what is well in development, and not in production."""
    return [] if conf.check() else list(deployment.problems())


@register(Tags.database)
def check_database(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """With `check --database`, and before migrate: what only the server itself can tell."""
    if conf.check() or conf.settings().database not in (databases or ()):
        return []
    return list(server.problems(conf.settings().database))
