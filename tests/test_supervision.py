"""What a supervisor decides by: boards, limits, whom to wake, kill, add, renew and retire."""

import itertools
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from jobs import conf, enqueue_many, ids, lifecycle
from jobs.execution import after_a_kill
from jobs.lifecycle import START, Claimed, Lane
from jobs.models import Job
from jobs.tasks import task
from jobs.worker import Options, presence, reload, stacks
from jobs.worker.account import Account
from jobs.worker.autoscale import Autoscale
from jobs.worker.board import CANCELLED, FAILED, Board, Overdue
from jobs.worker.console import Console
from jobs.worker.family import Child, Family
from jobs.worker.options import Identity
from jobs.worker.recycling import Limits, Recycling, memory
from jobs.worker.rescuer import Death, Rescuer
from jobs.worker.strangers import Strangers
from jobs.worker.supervisor import Supervisor
from jobs.worker.tally import Tally
from jobs.worker.watchdog import Watchdog
from tests import tasks
from tests.eventually import eventually


def child(number: int = 1) -> Child:
    return Child(number, Identity(ids.uuid7(), f"test/{number}"), pid=number)


# Waking.


def test_the_runner_with_the_least_to_do_is_woken_first_and_the_others_soon() -> None:
    family = Family(Options(processes=3), None, list)
    children = [child(number) for number in range(3)]
    family._children = {one.pid: one for one in children}
    for one, running in zip(children, (1, 0, 2), strict=True):
        one.board.hold(running, 0)

    def woken() -> list[int]:
        return [one.number for one in children if one.bell.wait(0)[0]]

    family.wake()
    assert woken() == [1]
    family.wake_others()
    assert woken() == []
    eventually(lambda: family.wake_others() or woken() == [0, 1, 2])
    family.close()


def test_a_process_that_the_system_has_no_room_for_is_tried_again() -> None:
    def full(number: int, worker_id: object, *, is_beat: bool = False) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    supervisor = Supervisor(Options(processes=1), Console(lambda line: None))
    supervisor._family.fork = full  # type: ignore[method-assign]
    supervisor._restart_at = {1: 0.0}

    supervisor._start_again()

    assert supervisor._restart_at[1] > time.monotonic()
    supervisor._family.close()


# Limits on the board.


def test_a_board_names_the_jobs_that_should_have_ended() -> None:
    board, claim = Board(), str(ids.uuid7())
    one, two, three = (str(ids.uuid7()) for _ in range(3))
    places = [board.start(id_, claim) for id_ in (one, two, three)]
    assert board.next_limit() is None
    board.limit(places[0], 100.0, 7.0, FAILED)
    board.limit(places[1], 200.0, 8.0, 2.5)
    board.limit(places[2], 300.0, 9.0, FAILED)
    board.over(places[2])

    assert board.next_limit() == 100.0
    assert board.overdue(99.0) == []
    [first] = board.overdue(100.0)
    assert (first.id, first.started_at, first.verdict) == (one, 7.0, FAILED)
    assert claim.endswith(first.claim_end)
    assert [found.verdict for found in board.overdue(500.0)] == [FAILED, 2.5]
    board.end(places[0])
    board.end(places[1])
    assert board.overdue(500.0) == []


def test_a_cancellation_hastens_a_limit_and_never_puts_it_off() -> None:
    board = Board()
    place = board.start(str(ids.uuid7()), str(ids.uuid7()))
    board.limit(place, 100.0, 1.0, FAILED)
    board.limit(place, 50.0, 1.0, CANCELLED)
    assert board.next_limit() == 50.0
    board.limit(place, 70.0, 1.0, CANCELLED)

    assert board.next_limit() == 50.0
    assert board.overdue(50.0)[0].verdict == CANCELLED


def test_what_becomes_of_a_killed_attempt_is_what_its_task_says_of_timeouts() -> None:
    def claimed(failures: int = 0, most: int | None = None) -> Claimed:
        row = ["a", "task", "{}", 1, failures, most, "default", None, 1.0, None]
        return Claimed(row, "claim", 0.0)

    plain = task(tasks.plain)
    assert after_a_kill(plain, claimed()) is None
    assert after_a_kill(tasks.flaky, claimed()) == timedelta(0)
    assert after_a_kill(tasks.flaky, claimed(failures=2)) is None
    assert after_a_kill(plain, claimed(most=2)) is not None


# The watchdog.


def limited(one: Child, job_id: str, end_by: float) -> int:
    place = one.board.start(job_id, str(ids.uuid7()))
    one.board.limit(place, end_by, 0.0, FAILED)
    return place


def test_a_job_that_goes_on_after_its_interruption_has_its_runner_killed() -> None:
    watchdog, one = Watchdog(), child()
    one.board.tick()
    now = time.monotonic()
    place = limited(one, "a" * 36, now + 60)
    sibling = one.board.start("b" * 36, str(ids.uuid7()))
    one.board.reached(place)
    assert watchdog.judge(one, awake_since=0.0) is None

    one.board.limit(place, now - 1, 0.0, FAILED)
    sentence = watchdog.judge(one, awake_since=0.0)
    assert sentence is not None
    assert not sentence.charged
    assert [found.id for found in sentence.overdue] == ["a" * 36]
    # After a sleep of the whole machine the interruption has only just been sent.
    one.started_at = now - 100
    assert watchdog.judge(one, awake_since=now - 0.1) is None
    assert watchdog.judge(one, awake_since=0.0) is not None
    one.board.over(place)
    assert watchdog.judge(one, awake_since=0.0) is None
    one.board.end(sibling)


def test_a_job_whose_interruption_another_holds_up_is_not_to_blame() -> None:
    watchdog, one = Watchdog(), child()
    one.board.start("b" * 36, str(ids.uuid7()))
    limited(one, "a" * 36, time.monotonic() - 1)

    # The interpreter is free: it is the event loop that another coroutine blocks.
    one.board.tick()
    assert watchdog.judge(one, awake_since=0.0) is None


def test_where_nobody_can_tell_who_holds_the_interpreter_each_is_charged_as_for_a_death(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watchdog, one = Watchdog(), child()
    monkeypatch.setattr(Board, "ticked_at", property(lambda board: time.monotonic() - 5))
    limited(one, "a" * 36, time.monotonic() - 1)
    alone = watchdog.judge(one, awake_since=0.0)
    assert alone is not None
    assert (len(alone.overdue), alone.charged) == (1, False)

    one.board.start("b" * 36, str(ids.uuid7()))
    together = watchdog.judge(one, awake_since=0.0)
    assert together is not None
    assert (len(together.overdue), together.charged) == (0, True)


def test_a_runner_whose_dispatcher_hangs_is_replaced_and_one_that_is_stopped_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watchdog, one = Watchdog(), child()
    one.board.expect(-100.0)
    one.board.tick()
    assert watchdog.judge(one, awake_since=0.0) is None
    one.board.expect(-121.0)
    one.board.tick()
    sentence = watchdog.judge(one, awake_since=0.0)
    assert sentence is not None
    assert sentence.charged
    assert "hung" in sentence.note

    # No thread of it runs: it may hold the interpreter, or be stopped.
    monkeypatch.setattr(Board, "ticked_at", property(lambda board: time.monotonic() - 5))
    assert watchdog.judge(one, awake_since=0.0) is None


@pytest.mark.django_db(transaction=True)
def test_an_end_that_cannot_be_written_holds_up_no_rescue() -> None:
    with lifecycle.connect("jobs test") as own:
        made = enqueue_many(tasks.noop, [()] * 2)
        worker_id, dead = ids.uuid7(), ids.uuid7()
        presence.register(own, worker_id, Options(name="test"), [])
        claimed = lifecycle.claim(
            own, {Lane("default", 0): START}, 2, claim_id=ids.uuid7(), worker="test/1",
            worker_id=worker_id, runner=dead,
        ).read().jobs  # fmt: skip
        rescuer = Rescuer(lambda counts: None, lambda: None, Tally(ids.uuid7()))
        bad = Overdue("not an id at all".ljust(36), claimed[0].claim[-8:], 0.0, FAILED, True)
        good = Overdue(claimed[0].id, claimed[0].claim[-8:], 0.0, FAILED, True)
        rescuer.died(dead, Death("killed", None, False, (bad, good), "a \0 in its stacks"))

        rescuer.rescue(own, worker_id, [])

    states = {str(job.pk): job.state for job in Job.objects.all()}
    assert states == {claimed[0].id: "failed", claimed[1].id: "queued"}
    assert {str(pk) for pk in made} == states.keys()


def test_a_process_tells_its_stacks_even_while_it_holds_the_interpreter() -> None:
    connection.close()
    file = stacks.new_file()
    ready, say_so = os.pipe()
    pid = os.fork()
    if pid == 0:
        stacks.show_on_demand(file)
        os.write(say_so, b"!")
        sum(itertools.repeat(1))
    try:
        os.read(ready, 1)
        eventually(lambda: "in test_a_process_tells_its_stacks" in stacks.ask(pid, file))
    finally:
        os.close(ready)
        os.close(say_so)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(file)


# Renewal.


def test_a_runner_is_renewed_by_jobs_age_or_memory() -> None:
    now = time.monotonic()
    assert Recycling(Limits()).why(10**9, now + 10**9) == ""
    jobs = Recycling(Limits(max_jobs=100))
    assert jobs.why(89, now) == ""
    assert jobs.why(111, now) == "after 111 jobs"
    age = Recycling(Limits(max_age=100.0))
    assert age.why(0, now + 89) == ""
    assert age.why(0, now + 111) == "after 111 s"
    assert memory() > 10
    small = Recycling(Limits(max_memory=1))
    assert "MB" in small.why(0, now + 2)


def test_limits_differ_between_runners_so_that_not_all_are_renewed_at_once() -> None:
    ends = {
        next(jobs for jobs in range(2000) if one.why(jobs, 0.0))
        for one in (Recycling(Limits(max_jobs=1000)) for _ in range(20))
    }
    assert len(ends) > 5
    assert 900 <= min(ends) <= max(ends) <= 1100


# More and fewer.


def test_a_runner_is_added_when_jobs_wait_and_at_most_one_a_second() -> None:
    scale = Autoscale(1, 3, 30.0)
    assert scale.wants_to_know(1, 0.0)
    assert not scale.is_short(0.5, 0.0)
    assert scale.is_short(1.5, 0.0)
    assert not scale.wants_to_know(2, 0.5)
    assert scale.wants_to_know(2, 1.0)
    assert not scale.wants_to_know(3, 9.0)


def test_a_runner_without_work_for_half_a_minute_is_retired_one_by_one() -> None:
    scale = Autoscale(1, 3, 30.0)
    busy = {1: 1, 2: 0, 3: 0}
    assert scale.superfluous(busy, 0.0) is None
    assert scale.superfluous(busy, 29.0) is None
    assert scale.superfluous(busy, 30.0) == 3
    assert scale.superfluous({1: 1, 2: 0}, 31.0) is None
    assert scale.superfluous({1: 1, 2: 4}, 40.0) is None
    assert scale.superfluous({1: 1, 2: 0}, 50.0) is None
    assert scale.superfluous({1: 1, 2: 0}, 80.0) == 2
    assert scale.superfluous({1: 0}, 1000.0) is None


# Unknown tasks.


def test_a_stranger_is_left_ever_longer_and_not_for_ever() -> None:
    strangers = Strangers(60.0)
    assert [strangers.leave("a", "t", now) for now in (0.0, 1.0, 3.0)] == [1.0, 2.0, 4.0]
    assert strangers.leave("b", "t", 59.0) == 1.0
    assert strangers.leave("a", "t", 59.0) == 8.0
    assert strangers.leave("a", "t", 60.0) is None
    assert strangers.is_to_be_told("task", 0.0)
    assert not strangers.is_to_be_told("task", 59.0)
    assert strangers.is_to_be_told("task", 60.0)


def test_of_more_strangers_than_can_be_remembered_none_is_left_for_ever() -> None:
    strangers, left = Strangers(300.0), {f"{i}" for i in range(12_000)}
    for now in range(0, 900, 30):
        left = {one for one in left if strangers.leave(one, "t", float(now)) is not None}

    assert left == set()


def test_the_patience_with_strangers_is_a_setting(settings: Any) -> None:
    settings.JOBS = {**settings.JOBS, "UNKNOWN_TASK_PATIENCE": timedelta(seconds=7)}
    assert conf.settings().unknown_task_patience == timedelta(seconds=7)


# New code.


def test_a_file_that_changes_is_seen_and_one_that_does_not_compile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some_code.py"
    path.write_text("x = 1\n")
    monkeypatch.setattr(reload, "iter_all_python_module_files", lambda: [path])
    files = reload.Files()
    files._looked_at = 0.0
    assert files.changed() == set()
    os.utime(path, (1, 1))
    # Not looked at again so soon.
    assert files.changed() == set()
    files._looked_at = 0.0
    assert files.changed() == {path}
    files._looked_at = 0.0
    assert files.changed() == set()

    assert reload.compiles(path) == ""
    path.write_text("x = (\n")
    assert "was never closed" in reload.compiles(path)
    assert reload.compiles(tmp_path / "deleted.py") == ""


def test_an_account_is_of_the_living_and_the_dead() -> None:
    family = Family(Options(processes=1), None, list)
    account = Account(family)
    account.add({"succeeded": 30, "failed": 2, "released": 7})
    one = Child(1, Identity(ids.uuid7(), "test/1"), pid=os.getpid())
    one.board.add({"succeeded": 10, "retried": 1})
    place = one.board.start(str(ids.uuid7()), str(ids.uuid7()))
    family._children[one.pid] = one

    doing = account.doing()

    assert account.totals() == {"succeeded": 40, "failed": 2, "retried": 1, "released": 7}
    assert (doing.ended, doing.running) == (43, 1)
    assert doing.pace > 0
    assert doing.claim_time is None
    assert doing.memory is None or doing.memory > 2**20
    one.board.claimed_in(0.010)
    assert account.doing().claim_time == pytest.approx(0.010)
    one.board.claimed_in(0.020)
    assert account.doing().claim_time == pytest.approx(0.011)
    one.board.end(place)
    # Nothing has ended since.
    assert (account.doing().pace, account.doing().running) == (0.0, 0)
    family._children.clear()
    family.close()
    one.close()


def test_only_a_heartbeat_counts_as_one_and_not_what_runners_write_into_the_row(
    connect: Callable[[], psycopg.Connection[Any]],
) -> None:
    connection = connect()
    own, other = ids.uuid7(), Identity(ids.uuid7(), "w/1")
    presence.register(connection, other.worker_id, Options(), [other.runner])
    before = presence.others(connection, own)

    presence.say_idle(connection, other, idle=True)
    assert presence.others(connection, own) == before
    presence.heartbeat(
        connection, other.worker_id, [other.runner], presence.Doing(), stopping=False
    )
    assert presence.others(connection, own) != before
    assert presence.bury(connection, before.versions) == []
