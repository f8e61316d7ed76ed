"""Signals: told where it happens, and hurting nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.dispatch import Signal

from jobs import enqueue, enqueue_many, signals
from jobs.models import Job
from jobs.testing import run_jobs
from tests import tasks

pytestmark = pytest.mark.django_db


@contextmanager
def heard(signal: Signal, sender: Any = None) -> Iterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []

    def hear(**told: Any) -> None:
        del told["signal"]
        found.append(told)

    signal.connect(hear, sender=sender)
    try:
        yield found
    finally:
        signal.disconnect(hear, sender=sender)


def test_enqueue_tells_of_the_job_and_enqueue_many_of_all_ids() -> None:
    with heard(signals.job_enqueued) as one, heard(signals.jobs_enqueued) as many:
        job = enqueue(tasks.add, 1)
        made = enqueue_many(tasks.add, [(1,), (2,)])
        enqueue_many(tasks.add, [])

    assert one == [{"sender": tasks.add, "job": job}]
    assert many == [{"sender": tasks.add, "ids": made}]


def test_a_receiver_hears_of_its_own_task_only_and_of_copies_with_options() -> None:
    with heard(signals.job_enqueued, sender=tasks.add) as told:
        enqueue(tasks.noop)
        tasks.add.using(priority=3).enqueue(1)

    assert [one["job"].priority for one in told] == [3]


def test_the_worker_tells_of_starts_retries_and_the_end() -> None:
    flaky = enqueue(tasks.flaky, 2)
    with (
        heard(signals.job_started) as started,
        heard(signals.job_retried) as retried,
        heard(signals.job_finished) as finished,
    ):
        run_jobs()

    assert [one["context"].attempt for one in started] == [1, 2]
    [again] = retried
    assert (type(again["exception"]), again["delay"]) == (ConnectionError, timedelta(0))
    [end] = finished
    assert (end["context"].job_id, end["state"], end["exception"]) == (
        flaky.pk,
        "succeeded",
        None,
    )
    assert end["sender"] is tasks.flaky


@pytest.mark.parametrize(
    ("make", "state"),
    [
        (lambda: enqueue(tasks.boom, "told"), "failed"),
        (lambda: enqueue(tasks.gives_up), "cancelled"),
        (lambda: enqueue(tasks.async_nap, 0.0), "succeeded"),
        (lambda: enqueue(tasks.atomic_nap, 0, "x"), "succeeded"),
    ],
)
def test_each_end_is_told_by_its_state(make: Callable[[], Any], state: str) -> None:
    make()
    with heard(signals.job_finished) as finished:
        run_jobs()

    assert [one["state"] for one in finished] == [state]
    assert (finished[0]["exception"] is None) == (state == "succeeded")


def test_a_receiver_that_raises_is_logged_and_hurts_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def leave(**told: Any) -> None:
        raise SystemExit(3)

    job = enqueue(tasks.add, 1)
    for signal in (signals.job_started, signals.job_finished):
        signal.connect(leave)
    try:
        run_jobs()
    finally:
        for signal in (signals.job_started, signals.job_finished):
            signal.disconnect(leave)

    job.refresh()
    assert job.return_value == 2
    assert [record.getMessage() for record in caplog.records].count(
        "a receiver of a signal raised"
    ) == 2


def test_what_a_receiver_of_an_enqueue_raises_is_the_callers() -> None:
    def refuse(**told: Any) -> None:
        raise ValueError("not today")

    signals.job_enqueued.connect(refuse)
    try:
        with pytest.raises(ValueError, match="not today"):
            enqueue(tasks.noop)
    finally:
        signals.job_enqueued.disconnect(refuse)
    assert Job.objects.count() == 1
