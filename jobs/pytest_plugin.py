"""Fixtures for sites that test with pytest and pytest-django; found by its entry point."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def immediate_jobs(db: None) -> Iterator[None]:
    """Each job that is due runs as soon as it is enqueued (see `jobs.testing.immediate`)."""
    # Deferred: Django may not be set up when plugins are loaded.
    from jobs.testing import immediate

    with immediate():
        yield


@pytest.fixture
def live_worker(transactional_db: None) -> Iterator[None]:
    """A worker runs what the test commits (see `jobs.testing.live_worker`)."""
    from jobs.testing import live_worker

    with live_worker():
        yield
