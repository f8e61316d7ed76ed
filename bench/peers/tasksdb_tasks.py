"""The work as Django's tasks; before Django 6 these are a package."""

from __future__ import annotations

from bench import work

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task


@task
def noop() -> None:
    work.noop()


@task
def nap() -> None:
    work.nap()


@task
def async_nap() -> None:
    work.nap()


@task
def ping() -> None:
    work.ping()
