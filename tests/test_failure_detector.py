"""Which workers are dead: a heartbeat that stood still, and nothing that only looks like it."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.worker.failure_detector import FailureDetector

OTHER, THIRD = UUID(int=1), UUID(int=2)


def watch(*, until: float, every: float = 5.0, version: str = "1") -> list[float]:
    """The moments at which a heartbeat that stands still from 0 on is found dead."""
    detector = FailureDetector(5.0, 30.0)
    found, now = [], 0.0
    while now <= until:
        if detector.observe(now, {OTHER: version}):
            found.append(now)
        now += every
    return found


def test_a_heartbeat_that_stands_still_for_the_timeout_is_dead() -> None:
    assert watch(until=60)[0] == 30.0


def test_a_heartbeat_that_moves_is_alive_however_old_it_looks() -> None:
    detector = FailureDetector(5.0, 30.0)
    for i in range(100):
        assert not detector.observe(5.0 * i, {OTHER: str(i // 3)})


def test_what_this_worker_could_not_see_counts_for_nothing() -> None:
    detector = FailureDetector(5.0, 30.0)
    # A lock or a stalled server kept all heartbeats back, again and again.
    now = 0.0
    for _ in range(20):
        assert not detector.observe(now, {OTHER: "1"})
        now += 36.0


def test_short_gaps_only_put_off_the_verdict() -> None:
    detector = FailureDetector(5.0, 30.0)
    now, found = 0.0, False
    for _ in range(8):
        # Ten seconds of sight, then twenty of none.
        for pause in (5.0, 5.0, 20.0):
            found = bool(detector.observe(now, {OTHER: "1"}))
            now += pause
        if found:
            break
    assert found
    assert now < 120


def test_a_row_that_somebody_holds_cannot_be_written_by_its_worker() -> None:
    detector = FailureDetector(5.0, 30.0)
    for i in range(20):
        assert not detector.observe(5.0 * i, {OTHER: "1"}, {OTHER})
    # From when it is free on, its worker has as long as any.
    moments = [5.0 * i for i in range(20, 30)]
    found = [moment for moment in moments if detector.observe(moment, {OTHER: "1"})]
    assert found[0] - moments[0] >= 25.0


def test_of_several_only_the_dead_one_is_named_with_its_version() -> None:
    detector = FailureDetector(5.0, 30.0)
    for i in range(7):
        found = detector.observe(5.0 * i, {OTHER: "still", THIRD: str(i)})
    assert found == {OTHER: "still"}


def test_a_worker_that_left_and_came_back_is_watched_from_then_on() -> None:
    detector = FailureDetector(5.0, 30.0)
    for i in range(6):
        detector.observe(5.0 * i, {OTHER: "1"})
    detector.observe(30.0, {})
    assert not detector.observe(35.0, {OTHER: "1"})


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000))
def test_no_living_worker_is_buried_whatever_the_server_does(seed: int) -> None:
    """Both workers beat every five seconds; the server stalls at random, and answers what waited as
    soon as it goes on, in any order. The clock of the database plays no part."""
    draw = random.Random(seed)
    stalls, now = [], 0.0
    while now < 600:
        now += draw.uniform(0.5, 40)
        stalls.append((now, now + draw.uniform(0.1, 60)))
        now = stalls[-1][1]

    def answered(moment: float) -> float:
        for start, end in stalls:
            if start <= moment < end:
                return end + draw.uniform(0.0, 0.05)
        return moment + draw.uniform(0.0, 0.05)

    # When each of the other's heartbeats was written.
    beats, at = [], draw.uniform(0, 5)
    while at < 600:
        at = answered(at)
        beats.append(at)
        at += 5.0
    detector, at = FailureDetector(5.0, 30.0), 0.0
    while at < 600:
        at = answered(at)
        version = sum(beat <= at for beat in beats)
        assert not detector.observe(at, {OTHER: str(version)})
        at += 5.0


@pytest.mark.parametrize(
    ("interval", "timeout"), [(5.0, 30.0), (1.0, 6.0), (0.5, 2.5), (1.0, 60.0)]
)
def test_a_dead_worker_is_found_within_twice_the_timeout(interval: float, timeout: float) -> None:
    detector, now = FailureDetector(interval, timeout), 0.0
    while not detector.observe(now, {OTHER: "1"}):
        now += interval * random.uniform(0.9, 1.1)
        assert now < 2 * timeout
