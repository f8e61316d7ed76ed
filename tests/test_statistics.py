"""Statistics: what became of jobs, counted by workers, folded, and read by charts."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db.models.functions import Now
from hypothesis import given
from hypothesis import strategies as st

from jobs import enqueue, enqueue_many, histogram, ids
from jobs.models import Attempt, Job, Statistic
from jobs.models.statistic import COUNTED, HOUR, MINUTE
from jobs.worker import keeper
from jobs.worker.tally import Tally
from tests import tasks
from tests.eventually import eventually
from tests.workers import WorkerProcess

# Histograms.


@given(st.floats(0, 1e9))
def test_a_duration_lies_within_its_bucket(seconds: float) -> None:
    place = histogram.bucket(seconds)

    assert 1 <= place < histogram.BUCKETS or seconds > 3e8
    assert seconds <= histogram.upper(place) * 1.001 or seconds > 3e8
    assert seconds >= histogram.upper(place - 1) * 0.999 - 1e-6


def test_quantiles_are_told_within_a_fifth() -> None:
    chance = random.Random(7)
    took = [chance.lognormvariate(-3, 1.5) for _ in range(5000)]
    counts = [0] * histogram.BUCKETS
    for one in took:
        counts[histogram.bucket(one)] += 1

    exact = statistics.quantiles(took, n=100)
    for percent in (5, 50, 95, 99):
        told = histogram.quantile(counts, percent / 100)
        assert told is not None
        assert abs(told / exact[percent - 1] - 1) < 0.2
    assert histogram.quantile([0, 0], 0.5) is None
    assert histogram.trimmed([0, 1, 0, 0]) == [0, 1]


# What workers write.


def counted(**conditions: Any) -> dict[str, int]:
    rows = Statistic.objects.filter(**conditions).exclude(task="")
    return {name: sum(getattr(row, name) for row in rows) for name in COUNTED}


@pytest.mark.slow
def test_workers_count_each_attempt_by_its_outcome_once(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    enqueue_many(tasks.noop, [()] * 300)
    enqueue(tasks.boom)
    enqueue(tasks.flaky, 3)
    enqueue(tasks.gives_up)
    enqueue(tasks.snoozes_once)
    slow = enqueue(tasks.nap, 0.2)
    worker = start_worker("--processes", "2")
    eventually(lambda: not Job.objects.filter(finished_at=None).exists())
    assert worker.stop() == 0

    retried = Attempt.objects.filter(outcome="retried").count()
    assert counted() == {
        "succeeded": 303,
        "failed": 1,
        "retried": retried,
        "cancelled": 1,
        "snoozed": 1,
        "lost": 0,
    }
    of_naps = Statistic.objects.get(task=tasks.nap.name)
    assert (of_naps.seconds, of_naps.queue_name) == (MINUTE, "default")
    took = histogram.quantile(of_naps.runs, 0.5)
    assert took is not None
    assert 0.15 < took < 0.3
    slow.refresh()
    assert sum(of_naps.waits) == 1


@pytest.mark.slow
def test_what_ends_with_its_process_is_counted_by_its_supervisor(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    poison = enqueue(tasks.dies_at_most_once)
    hangs = tasks.swallows_its_interruption.using(timeout=timedelta(seconds=0.1)).enqueue(
        "/dev/null"
    )
    worker = start_worker("--processes", "1", JOBS_TEST_INTERRUPT_GRACE="0.2")
    eventually(lambda: Job.objects.failed().count() == 2)
    assert worker.stop() == 0

    assert counted(task=poison.task)["lost"] == 1
    assert counted(task=hangs.task)["failed"] == 1


def test_a_tally_that_is_written_twice_says_the_same(connection: psycopg.Connection[Any]) -> None:
    tally = Tally(ids.uuid7())
    for _ in range(2):
        tally.count("mail", "a.b", "failed")
        tally.write(connection, 0.0)
        tally.write(connection, 0.0)

    assert counted() == dict.fromkeys(COUNTED, 0) | {"failed": 2}
    assert Statistic.objects.count() == 1


# How they are kept.


def made(ago: timedelta, **columns: Any) -> None:
    values = {"queue_name": "mail", "task": "a.b", "seconds": MINUTE} | columns
    Statistic.objects.create(starts_at=Now() - ago, **values)


def test_rows_of_runners_are_folded_into_minutes_and_these_into_longer_spans(
    connection: psycopg.Connection[Any],
) -> None:
    minutes, days = timedelta(minutes=10), timedelta(days=2)
    for share in ([1, 2], [0, 0, 5]):
        made(minutes, runner=ids.uuid7(), succeeded=3, waits=share, runs=[1])
    made(timedelta(0), runner=ids.uuid7(), failed=1)
    Statistic.objects.filter(failed=0).update(
        starts_at=Statistic.objects.filter(failed=0).first().starts_at  # type: ignore[union-attr]
    )
    keeper.keep(connection)

    folded = Statistic.objects.get(runner=None, task="a.b")
    assert (folded.succeeded, folded.waits, folded.runs) == (6, [1, 2, 5], [2])
    assert Statistic.objects.filter(runner__isnull=False).get().failed == 1

    Statistic.objects.all().delete()
    for again in range(2):
        made(days, succeeded=1, waits=[again, 1], ready=again)
        keeper.keep(connection)
    hour = Statistic.objects.get(task="a.b")
    assert (hour.seconds, hour.succeeded, hour.waits, hour.ready) == (HOUR, 2, [1, 2], 1)
    assert hour.starts_at.minute == 0

    made(timedelta(days=93), seconds=HOUR)
    keeper.keep(connection)
    assert list(Statistic.objects.exclude(task="")) == [hour]


def test_queues_are_sampled_once_in_a_minute(connection: psycopg.Connection[Any]) -> None:
    connection.execute("INSERT INTO jobs_queue (name) VALUES ('default'), ('empty')")
    enqueue_many(tasks.noop, [()] * 7)
    Job.objects.update(run_at=Now() - timedelta(seconds=90))
    tasks.noop.using(run_after=timedelta(hours=1)).enqueue()
    keeper.keep(connection)
    enqueue(tasks.noop)
    keeper.keep(connection)

    found = {one.queue_name: one for one in Statistic.objects.filter(task="").order_by("pk")[:2]}
    assert found["default"].ready == 7
    assert found["default"].oldest is not None
    assert 89 < found["default"].oldest < 120
    assert (found["empty"].ready, found["empty"].oldest) == (0, 0)
    # Twice, should a minute have begun meanwhile.
    assert Statistic.objects.count() in (2, 4)
