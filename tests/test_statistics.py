"""Statistics: what became of jobs, counted by workers, folded, and read by charts."""

from __future__ import annotations

import random
import re
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import psycopg
import pytest
from django.db.models import F
from django.db.models.functions import Now
from hypothesis import given
from hypothesis import strategies as st

from jobs import enqueue, enqueue_many, histogram, ids
from jobs.lifecycle import Claimed, Ended
from jobs.models import Attempt, Job, Queue, Statistic
from jobs.models.statistic import COUNTED, HOUR, MINUTE
from jobs.outcomes import Succeeded
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


def ended(seconds_ago: float) -> Ended:
    """An attempt that succeeded so long ago, after a second."""
    row = ["id", "a.b", "{}", 1, 0, None, "mail", None, None, None]
    job = Claimed(row, "claim", time.time() - time.monotonic())
    job.finished_at = time.time() - seconds_ago
    job.started_at = job.run_at = job.finished_at - 1
    return Ended(job, Succeeded())


def test_what_could_be_recorded_late_only_takes_nothing_from_what_is_written(
    connection: psycopg.Connection[Any],
) -> None:
    tally = Tally(ids.uuid7())
    tally.add([ended(130)] * 100)
    tally.write(connection, 0.0)
    tally.add([ended(0)])
    tally.write(connection, 0.0)
    tally.add([ended(130), *[ended(0)] * 50])
    # As good as folded: it is counted now.
    tally.add([ended(500)])
    tally.write(connection, 0.0)

    assert counted()["succeeded"] == 100 + 1 + 1 + 50 + 1
    assert Statistic.objects.filter(starts_at__lt=Now() - timedelta(minutes=4)).count() == 0


def test_what_cannot_be_written_is_let_go_in_the_end() -> None:
    tally = Tally(ids.uuid7())
    refusing = mock.Mock()
    refusing.execute.side_effect = psycopg.errors.InsufficientPrivilege
    tally.count("mail", "a.b", "lost")
    with pytest.raises(psycopg.Error):
        tally.write(refusing, 100.0)

    assert not tally.is_due(150.0)
    assert tally.is_due(161.0)
    tally._clock = time.time() - time.monotonic() + 400
    with pytest.raises(psycopg.Error):
        tally.write(refusing, 161.0)
    assert not tally.is_due(1e9)


def test_a_machine_whose_clock_is_wrong_counts_nothing_twice(
    connection: psycopg.Connection[Any],
) -> None:
    tally = Tally(ids.uuid7())
    tally.count("mail", "a.b", "lost")
    with mock.patch("jobs.worker.tally.time.time", return_value=time.time() - 900):
        late = Tally(ids.uuid7())
        late.count("mail", "a.b", "lost")
        late.write(connection, 0.0)
    # The server has refused the row, and told the time.
    assert counted()["lost"] == 0
    for _ in range(3):
        late.count("mail", "a.b", "lost")
        late.write(connection, 0.0)
        keep(connection)

    assert counted()["lost"] == 3


# How they are kept.


def keep(connection: psycopg.Connection[Any]) -> None:
    for _ in keeper.keep(connection):
        pass


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
    keep(connection)

    folded = Statistic.objects.get(runner=None, task="a.b")
    assert (folded.succeeded, folded.waits, folded.runs) == (6, [1, 2, 5], [2])
    assert Statistic.objects.filter(runner__isnull=False).get().failed == 1

    Statistic.objects.all().delete()
    for again in range(2):
        made(days, succeeded=1, waits=[again, 1], ready=again)
        keep(connection)
    hour = Statistic.objects.get(task="a.b")
    assert (hour.seconds, hour.succeeded, hour.waits, hour.ready) == (HOUR, 2, [1, 2], 1)
    assert hour.starts_at.minute == 0
    # And what it comes to, of all queues and tasks: for charts of days.
    total = Statistic.objects.get(task="")
    assert (total.queue_name, total.seconds, total.succeeded, total.waits, total.ready) == (
        "", HOUR, 2, [1, 2], None,
    )  # fmt: skip

    made(timedelta(days=93), seconds=HOUR)
    keep(connection)
    assert list(Statistic.objects.exclude(task="")) == [hour]


def test_queues_are_sampled_once_in_a_minute(connection: psycopg.Connection[Any]) -> None:
    connection.execute("INSERT INTO jobs_queue (name) VALUES ('default'), ('empty')")
    enqueue_many(tasks.noop, [()] * 7)
    Job.objects.update(run_at=Now() - timedelta(seconds=90))
    tasks.noop.using(run_after=timedelta(hours=1)).enqueue()
    low = tasks.noop.using(priority=-5).enqueue()
    Job.objects.filter(pk=low.pk).update(run_at=Now() - timedelta(days=2))
    keep(connection)
    enqueue(tasks.noop)
    keep(connection)

    found = {one.queue_name: one for one in Statistic.objects.filter(task="").order_by("pk")[:2]}
    assert found["default"].ready == 8
    # Of all priorities.
    assert found["default"].oldest is not None
    assert found["default"].oldest > 86_400
    # A queue that was used once is not sampled for ever.
    assert "empty" not in found
    # Twice, should a minute have begun meanwhile.
    assert Statistic.objects.count() in (1, 2)
    Job.objects.update(claimable=False, state="cancelled", cancelled_at=Now(), finished_at=Now())
    Statistic.objects.update(starts_at=F("starts_at") - timedelta(minutes=1))
    keep(connection)
    # Of late it had jobs, and now it has none.
    newest = Statistic.objects.filter(queue_name="default").latest("starts_at")
    assert (newest.ready, newest.oldest) == (0, 0)


def test_queues_that_nobody_uses_any_more_are_forgotten(
    connection: psycopg.Connection[Any],
) -> None:
    connection.execute(
        "INSERT INTO jobs_queue (name, paused_at) VALUES ('once', NULL), ('default', NULL),"
        " ('scheduled', NULL), ('paused', now()), ('counted', NULL)"
    )
    tasks.noop.using(run_after=timedelta(hours=1), queue_name="scheduled").enqueue()
    enqueue(tasks.noop)
    made(timedelta(hours=2), queue_name="counted", task="t")

    keep(connection)
    assert Queue.objects.count() == 5
    for _ in keeper.keep(connection, is_hourly=True):
        pass

    left = set(Queue.objects.values_list("name", flat=True))
    assert left == {"default", "scheduled", "paused", "counted"}


def test_a_keeper_does_one_statement_at_a_step_and_keeps_what_it_did(
    connection: psycopg.Connection[Any],
) -> None:
    made(timedelta(days=93), seconds=HOUR)
    made(timedelta(minutes=10), runner=ids.uuid7(), succeeded=3)
    one = keeper.Keeper()
    one._next_at = 0.0
    for _ in range(20):
        one.step(connection)

    assert one._round is None
    [row] = Statistic.objects.exclude(task="")
    assert (row.runner, row.succeeded, row.seconds) == (None, 3, MINUTE)


def test_folding_reads_what_is_old_and_not_the_whole_table(
    connection: psycopg.Connection[Any],
) -> None:
    connection.execute(
        "INSERT INTO jobs_statistic (starts_at, seconds, queue_name, task)"
        " SELECT statement_timestamp() - i * interval '1 hour', 3600, 'q', 't'"
        " FROM generate_series(1, 20000) AS i"
    )
    connection.execute("ANALYZE jobs_statistic")
    said = {"of_runners": True, "of": MINUTE, "into": MINUTE, "older_than": 300.0}
    row = connection.execute(
        "EXPLAIN (FORMAT JSON) " + keeper._STATEMENTS["fold"],  # type: ignore[operator]
        said,
    ).fetchone()
    assert row is not None

    conditions = re.findall(r"Index Cond.{80}", str(row[0]))
    assert any("seconds = " in one and "starts_at <" in one for one in conditions), conditions
