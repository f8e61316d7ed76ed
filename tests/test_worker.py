"""The worker's parts, in this process: slots, demand, board, bell, watch, dispatcher."""

import contextvars
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from jobs import enqueue, enqueue_many, ids, lifecycle
from jobs.errors import JobCancelled, JobTimeout
from jobs.execution import Context
from jobs.lifecycle import START, Claimed, Lane, Place, Seen
from jobs.models import Claim, Job, Queue, Refusal
from jobs.outcomes import Cancelled, Failed, Outcome, Succeeded, TakenOver
from jobs.worker import Options
from jobs.worker.bell import Bell, Call
from jobs.worker.board import Board
from jobs.worker.claimer import _REST, STANDSTILL
from jobs.worker.console import Console
from jobs.worker.coroutines import CoroutineSlots
from jobs.worker.demand import MOST_CLAIMED, Demand
from jobs.worker.lanes import Lanes
from jobs.worker.options import Identity
from jobs.worker.pulse import Pulse
from jobs.worker.rest import Rest
from jobs.worker.runner import Runner
from jobs.worker.slots import ThreadSlots
from jobs.worker.watch import Watch
from tests import tasks
from tests.eventually import eventually
from tests.one_runner import OneRunner


def claimed(id_: str = "a", timeout: float | None = None) -> Claimed:
    row = [id_, "task", "{}", 1, 0, None, "default", None, timeout, None]
    return Claimed(row, "claim", 0.0)


# Demand.


def test_a_runner_prefetches_nothing_until_it_knows_its_jobs() -> None:
    assert Demand(threads=3).prefetch == 0


def test_short_jobs_are_asked_for_by_the_hundred_and_long_ones_one_by_one() -> None:
    short, long = Demand(1), Demand(1)
    short.ran(0.001, 1000)
    long.ran(60.0, 1)

    assert short.prefetch == 2 * MOST_CLAIMED
    assert long.prefetch == 0


def test_longer_jobs_shorten_the_prefetch_at_once_and_shorter_ones_by_and_by() -> None:
    demand = Demand(1)
    demand.ran(0.001, 1000)
    demand.ran(0.1, 10)
    assert demand.prefetch == 5
    demand.ran(0.001, 1000)
    assert 5 < demand.prefetch < 10


def test_what_a_slot_could_not_start_soon_itself_is_left_to_other_runners() -> None:
    many = Demand(25)
    many.ran(0.1, 1)
    assert many.prefetch == 0
    many = Demand(25)
    many.ran(0.02, 1)
    assert many.prefetch == 50


def test_a_line_that_stands_still_ends_the_prefetch_at_once() -> None:
    demand = Demand(1)
    demand.ran(0.001, 1000)
    demand.stood_still(0.1)

    assert demand.prefetch == 0


def test_lanes_that_held_only_async_tasks_are_for_the_coroutines() -> None:
    demand = Demand(1)
    mail, sums = Lane("mail", 0), Lane("sums", 0)
    demand.saw("mail", only_async=True)

    assert demand.split([mail, sums]) == ([sums], [mail])
    demand.saw("mail", only_async=False)
    assert demand.split([mail, sums]) == ([mail, sums], [])


# Lanes.

HIGH, LOW = Lane("default", 1), Lane("default", 0)


def looked(lanes: Lanes, seen: Seen, *, began: float = 0.0, now: float = 0.0) -> Lanes:
    lanes.looked(seen, seen.first, began=began, now=now)
    return lanes


def test_a_lane_is_due_from_its_first_job_on_and_claimed_from_its_mark_on() -> None:
    lanes = looked(Lanes(), Seen({HIGH: Place(1060.0, "b"), LOW: Place(990.0, "a")}, at=1000.0))

    assert lanes.due(0.0) == {LOW: Place(990.0, "a")}
    assert lanes.next_due_in(0.0) == 60.0
    assert set(lanes.due(60.0)) == {HIGH, LOW}
    lanes.claimed({LOW: Place(995.0, "c")})
    assert lanes.due(0.0) == {LOW: Place(995.0, "c")}


def test_a_mark_is_never_ahead_of_the_clock() -> None:
    # The first job is of tomorrow, and one that is enqueued now comes before it.
    lanes = looked(Lanes(), Seen({LOW: Place(90_000.0, "z")}, at=1000.0))

    assert lanes.due(90_000.0) == {LOW: Place(1000.0, START.id)}
    lanes.glanced(Seen({}, at=1010.0), [LOW], began=10.0, now=10.0)
    assert lanes.due(90_000.0) == {}
    assert lanes.glance_from() == {LOW: 1005.0}


def test_looks_cost_a_twentieth_of_the_time_and_glances_go_on_meanwhile() -> None:
    lanes = Lanes()
    assert lanes.wants_look(0.0, at_once=False)
    looked(lanes, Seen({LOW: Place(1.0, "a")}, at=1000.0), began=0.0, now=1.0)

    assert not lanes.wants_look(20.9, at_once=True)
    assert lanes.wants_look(21.0, at_once=False)
    assert lanes.wants_glance(1.1, at_once=False)
    lanes.glanced(Seen({}, at=1000.0), [LOW], began=1.1, now=1.2)
    assert not lanes.wants_glance(2.0, at_once=True)
    assert lanes.wants_glance(3.3, at_once=False)


def test_a_look_that_had_to_wait_for_a_lock_blinds_nobody() -> None:
    lanes = Lanes()
    looked(lanes, Seen({}, at=1000.0), began=0.0, now=0.001)
    looked(lanes, Seen({}, at=1000.0), began=1.0, now=20.0)

    assert lanes.wants_look(20.2, at_once=False)
    only = looked(Lanes(), Seen({}, at=1000.0), began=0.0, now=60.0)
    assert only.wants_look(90.0, at_once=False)


def test_only_a_look_that_began_later_has_seen_what_happened() -> None:
    lanes = looked(Lanes(), Seen({}, at=1000.0), began=5.0, now=6.0)

    assert lanes.looked_since(4.9)
    assert not lanes.looked_since(5.5)


def test_a_cheap_look_is_repeated_at_once_for_who_waits_and_ten_times_a_second_else() -> None:
    lanes = looked(Lanes(), Seen({}, at=1000.0), began=0.0, now=0.001)

    assert lanes.wants_look(0.022, at_once=True)
    assert not lanes.wants_look(0.022, at_once=False)
    assert lanes.wants_look(0.102, at_once=False)


def test_a_lane_that_stays_empty_is_forgotten() -> None:
    lanes = looked(Lanes(), Seen({LOW: Place(1.0, "a")}, at=1000.0))

    looked(lanes, Seen({}, at=1001.0), began=1.0, now=1.0)
    assert set(lanes.glance_from()) == {LOW}
    looked(lanes, Seen({}, at=1100.0), began=100.0, now=100.0)
    assert lanes.glance_from() == {}


def test_of_thousands_of_lanes_a_glance_goes_only_into_those_used_last() -> None:
    many = [Lane(f"queue {number}", 0) for number in range(3000)]
    lanes = looked(Lanes(), Seen({lane: Place(900.0, "a") for lane in many}, at=1000.0))

    assert lanes.glance_from() == {}
    assert not lanes.wants_glance(1.0, at_once=True)
    for lane in [*many[:200], many[136]]:
        lanes.claimed({lane: Place(950.0, "b")})
    assert set(lanes.glance_from()) == set(lanes.marks()) == set(many[136:200])
    lanes.glanced(Seen({}, at=1001.0), lanes.glance_from(), began=1.0, now=1.0)
    assert set(lanes.due(1.0)) == {*many[:136], *many[200:]}


# Rest.


def test_a_runner_lingers_then_sleeps_and_looks_ever_more_rarely() -> None:
    rest = Rest(longest=1.0)
    rest.begin(0.0)

    lingering = [rest.next_pause() for _ in range(6)]
    assert lingering == pytest.approx([0.002, 0.004, 0.008, 0.016, 0.02, 0.02])
    assert not rest.wants_to_sleep(0.05)
    assert rest.wants_to_sleep(0.11)
    rest.fall_asleep()
    asleep = [rest.next_pause() for _ in range(10)]
    assert asleep[:3] == pytest.approx([0.005, 0.01, 0.02])
    assert asleep[-2:] == [1.0, 1.0]
    rest.wake()
    assert rest.next_pause() == 0.005


# Bell and board.


def test_a_bell_is_heard_later_and_across_a_lifeline() -> None:
    import os

    bell = Bell()
    reader, writer = os.pipe()
    bell.ring()
    bell.ring(Call.STOP)

    assert bell.wait(0, reader) == ({Call.WAKE, Call.STOP}, False)
    assert bell.wait(0, reader) == (set(), False)
    os.close(writer)
    assert bell.wait(5, reader) == (set(), True)
    os.close(reader)
    bell.close()


def test_a_board_knows_which_jobs_of_a_claim_were_started() -> None:
    board = Board()
    one, two, claim, other = (str(ids.uuid7()) for _ in range(4))
    board.start(one, claim)
    board.start(two, other)
    board.add({"succeeded": 2, "failed": 1})
    board.add({"succeeded": 1})

    assert board.started(claim) == {one}
    assert board.started(str(ids.uuid7())) == set()
    assert board.counters()["succeeded"] == 3
    assert board.counters()["failed"] == 1


def test_a_board_of_many_threads_loses_no_start_and_forgets_what_is_recorded() -> None:
    board, claim, other = Board(), str(ids.uuid7()), str(ids.uuid7())
    parts = [[str(one) for one in ids.uuid7s(2000)] for _ in range(4)]

    places: dict[str, int] = {}

    def work(part: list[str]) -> None:
        for job_id in part:
            places[job_id] = board.start(job_id, claim)

    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert board.started(claim) == {job_id for part in parts for job_id in part}
    for job_id in parts[0]:
        board.end(places[job_id])
    for job_id in ids.uuid7s(20_000):
        board.end(board.start(str(job_id), other))
    assert board.started(claim) == {job_id for part in parts[1:] for job_id in part}


# Slots.


class Tried:
    """Thread slots in a thread of their own."""

    def __init__(self, count: int, run: Callable[[Claimed, Context], Outcome]) -> None:
        self.slots = ThreadSlots(count, run, Context, Watch())
        self.thread = threading.Thread(target=self.slots.serve, daemon=True)
        if count > 1:
            self.thread.start()


@pytest.fixture
def slots() -> Iterator[Callable[..., ThreadSlots]]:
    made: list[Tried] = []

    def make(run: Callable[[Claimed, Context], Outcome], count: int = 2) -> ThreadSlots:
        made.append(Tried(count, run))
        return made[-1].slots

    yield make
    for tried in made:
        tried.slots.close()
        tried.thread.join(5)


def test_slots_run_what_stands_in_line_and_say_how_it_ended(
    slots: Callable[..., ThreadSlots],
) -> None:
    made = slots(lambda job, context: Succeeded(job.id))
    made.add([claimed(str(i)) for i in range(50)])

    eventually(lambda: len(made.done) == 50)

    assert {ended.outcome for ended in made.done} == {Succeeded(str(i)) for i in range(50)}
    assert made.in_hand == 0


def test_what_stands_in_line_is_taken_back_and_never_also_run(
    slots: Callable[..., ThreadSlots],
) -> None:
    gate = threading.Event()

    def run(job: Claimed, context: Context) -> Outcome:
        gate.wait(10)
        return Succeeded()

    made = slots(run)
    made.add([claimed(str(i)) for i in range(10)])
    eventually(lambda: made.busy == 2)
    taken = made.take_back()
    gate.set()

    eventually(lambda: len(made.done) == 2)
    assert len(taken) == 8
    assert not {job.id for job in taken} & {ended.job.id for ended in made.done}


def spin(job: Claimed, context: Context) -> Outcome:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        time.sleep(0.001)
    return Succeeded()


def test_an_interruption_reaches_the_thread_that_runs_the_job(
    slots: Callable[..., ThreadSlots],
) -> None:
    made = slots(spin)
    made.add([claimed("a"), claimed("b")])
    eventually(lambda: made.busy == 2)

    made.interrupt("a", JobCancelled("enough"))
    made.interrupt("nobody", JobCancelled("enough"))

    eventually(lambda: len(made.done) == 1)
    assert made.done[0].job.id == "a"
    assert isinstance(made.done[0].outcome, Cancelled)
    made.interrupt("b", JobCancelled("enough"))
    eventually(lambda: len(made.done) == 2)


def test_a_time_limit_interrupts_a_thread(slots: Callable[..., ThreadSlots]) -> None:
    made = slots(spin)
    made.add([claimed("a", timeout=0.05)])

    eventually(lambda: made.done)

    assert isinstance(made.done[0].outcome, Failed)
    assert made.done[0].outcome.reason == "timeout"


# Python itself swallows, and tells, one that arrives inside of a weak reference's callback. That
# is an interruption lost, which docs/running.md owns up to; it is no next job that was hit.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interruptions_never_hit_the_next_job(slots: Callable[..., ThreadSlots]) -> None:
    """Thousands of short jobs, each interrupted at about the moment that it ends."""
    hit: list[str] = []

    def run(job: Claimed, context: Context) -> Outcome:
        try:
            sum(range(300))
        except JobCancelled:
            if context.interruption is None:
                hit.append(job.id)
            raise
        return Succeeded()

    made = slots(run, 2)
    total = 3000
    made.add([claimed(str(i)) for i in range(total)])
    while len(made.done) < total:
        for slot in made.slots:
            job, context = slot.job, slot.context
            if job is not None and context is not None:
                slot.interrupt(job, context, JobCancelled("now"))

    assert hit == []
    assert len({ended.job.id for ended in made.done}) == total


def test_a_deadline_in_a_thousand_years_ends_no_other() -> None:
    from datetime import timedelta as duration

    watch, called = Watch(), []
    watch.arm(duration.max.total_seconds(), lambda: called.append("never"))
    watch.arm(0.05, lambda: called.append("soon"))

    eventually(lambda: called == ["soon"])


def test_a_watch_lets_go_of_what_is_disarmed() -> None:
    watch, called = Watch(), []
    deadlines = [watch.arm(60, lambda: called.append(1)) for _ in range(1000)]

    for deadline in deadlines:
        watch.disarm(deadline)

    assert len(watch._deadlines) < 300
    assert called == []


def test_a_watch_calls_back_in_the_order_of_time() -> None:
    watch, called = Watch(), []
    watch.arm(0.10, lambda: called.append("second"))
    watch.arm(0.05, lambda: called.append("first"))

    eventually(lambda: len(called) == 2)

    assert called == ["first", "second"]


# Coroutines.


def test_coroutines_run_at_once_and_are_interrupted_one_by_one() -> None:
    import asyncio

    async def run(job: Claimed, context: Context) -> Outcome:
        context.enter()
        try:
            await asyncio.sleep(0.05 if job.id == "short" else 30)
        except asyncio.CancelledError:
            assert isinstance(context.interruption, JobTimeout | JobCancelled)
            return Failed(None)  # type: ignore[arg-type]
        return Succeeded()

    slots = CoroutineSlots(10, run, Context)
    slots.add([claimed("short"), claimed("cancelled"), claimed("late", timeout=0.1)])
    eventually(lambda: len(slots.done) == 2)
    slots.interrupt("cancelled", JobCancelled("enough"))
    eventually(lambda: len(slots.done) == 3)

    assert {e.job.id: type(e.outcome) for e in slots.done} == {
        "short": Succeeded,
        "late": Failed,
        "cancelled": Failed,
    }
    assert slots.in_hand == 0


def test_a_loop_that_answers_at_once_was_not_silent() -> None:
    class Prompt:
        def call_soon_threadsafe(self, call_back: Callable[[], None]) -> None:
            call_back()

    slots = CoroutineSlots(10, None, Context)  # type: ignore[arg-type]
    assert slots.silent_for(1.0) == 0.0
    slots._loop = Prompt()  # type: ignore[assignment]

    assert [slots.silent_for(now) for now in (1.0, 2.0)] == [0.0, 0.0]


# The dispatcher, step by step.


def test_steps_claim_run_and_record(one_runner: Callable[..., OneRunner]) -> None:
    made = enqueue_many(tasks.add, [(i,) for i in range(20)])
    runner = one_runner()

    runner.step_until(lambda: not Job.objects.exclude(state="succeeded").exists())
    runner.step_until(lambda: not Claim.objects.exists())

    assert [Job.objects.get(pk=pk).return_value for pk in made] == [i + 1 for i in range(20)]
    assert {job.worker for job in Job.objects.all()} == {"test/1"}
    assert Queue.objects.get().name == "default"


def test_only_the_runners_own_queues_are_claimed(one_runner: Callable[..., OneRunner]) -> None:
    mail = tasks.noop.using(queue_name="mail").enqueue()
    sums, slow = enqueue(tasks.noop), tasks.noop.using(queue_name="slow").enqueue()
    runner = one_runner(queues=("mail", "slow"), excluded_queues=("slow",))

    runner.step_until(lambda: Job.objects.get(pk=mail.pk).is_finished)

    assert Job.objects.get(pk=sums.pk).state == "queued"
    assert Job.objects.get(pk=slow.pk).state == "queued"


def test_an_expired_job_never_starts(one_runner: Callable[..., OneRunner]) -> None:
    job = tasks.boom.using(expires_after=timedelta(hours=1)).enqueue()
    Job.objects.update(expires_at=Now() - timedelta(seconds=1))
    runner = one_runner()

    runner.step_until(lambda: Job.objects.get(pk=job.pk).is_finished)

    job.refresh()
    assert (job.state, job.reason, job.failures) == ("cancelled", "expired", 0)


def test_a_job_of_an_unknown_task_fails_in_the_end_with_the_reason(
    one_runner: Callable[..., OneRunner], settings: Any
) -> None:
    settings.JOBS = {**settings.JOBS, "UNKNOWN_TASK_PATIENCE": timedelta(microseconds=1)}
    job = enqueue(tasks.noop)
    Job.objects.update(task="tests.tasks.vanished")
    runner = one_runner()

    runner.step_until(lambda: Job.objects.get(pk=job.pk).is_finished)

    assert "tests.tasks has no vanished" in job.errors[0].message


def test_a_running_job_is_cancelled_within_two_seconds(
    one_runner: Callable[..., OneRunner],
) -> None:
    job = enqueue(tasks.naps_in_small_bites, 30)
    runner = one_runner()
    runner.step_until(lambda: runner.runner.slots.busy)
    job.refresh()
    assert job.cancel(by="ada")
    asked_at = time.monotonic()

    runner.step_until(lambda: Job.objects.get(pk=job.pk).is_finished)

    job.refresh()
    assert (job.state, job.cancelled_by) == ("cancelled", "ada")
    assert time.monotonic() - asked_at < 2


def test_progress_is_seen_while_the_job_runs_and_at_its_end(
    one_runner: Callable[..., OneRunner],
) -> None:
    job = enqueue(tasks.tells_progress, 10)
    runner = one_runner()

    runner.step_until(lambda: Job.objects.get(pk=job.pk).is_finished)

    job.refresh()
    assert job.progress is not None
    assert (job.progress.percent, job.progress.message) == (100.0, "step 10")


def test_one_value_that_postgresql_refuses_does_not_sink_its_batch(
    one_runner: Callable[..., OneRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Past the codec's own checks, as a mistake of ours would come.
    def poisoned(task: Any, value: Any) -> str:
        return '"\\u0000"' if value == 5 else str(value)

    monkeypatch.setattr("jobs.execution.call._result", poisoned)
    enqueue_many(tasks.add, [(i, 0) for i in range(1, 10)])
    runner = one_runner()

    runner.step_until(lambda: not Job.objects.filter(state__in=["queued", "running"]).exists())

    states = {job.args[0]: job.state for job in Job.objects.all()}
    assert states.pop(5) == "failed"
    assert set(states.values()) == {"succeeded"}
    assert "refused to keep" in Job.objects.failed().get().errors[0].message


def test_a_log_handler_that_raises_books_nothing_twice(
    one_runner: Callable[..., OneRunner],
) -> None:
    import logging

    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise ValueError("broken")

    runner = one_runner()
    runner.dispatcher.demand.ran(0.001, 1000)
    slow, quick = enqueue(tasks.nap, 1), enqueue(tasks.boom)
    broken = Broken()
    logging.getLogger("jobs").addFilter(broken)
    try:
        runner.step_until(lambda: Job.objects.get(pk=quick.pk).state == "failed")
        for _ in range(5):
            runner.dispatcher.step()
        assert Job.objects.get(pk=slow.pk).state == "running"
        assert Claim.objects.exists()
        runner.step_until(lambda: Job.objects.get(pk=slow.pk).state == "succeeded")
    finally:
        logging.getLogger("jobs").removeFilter(broken)


def test_a_slow_log_handler_makes_no_runner_look_hung(
    one_runner: Callable[..., OneRunner],
) -> None:
    enqueue_many(tasks.boom, [()] * 5)
    runner = one_runner()
    shown: list[float] = []

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.append(runner.dispatcher._board.back_by)
            time.sleep(0.01)

    slow = Slow()
    logging.getLogger("jobs").addHandler(slow)
    try:
        runner.step_until(lambda: Job.objects.failed().count() == 5)
    finally:
        logging.getLogger("jobs").removeHandler(slow)

    assert len(shown) == len(set(shown)) == 5


def test_a_claim_whose_reply_was_lost_is_given_back(one_runner: Callable[..., OneRunner]) -> None:
    runner = one_runner()
    job = enqueue(tasks.noop)
    identity = runner.identity
    lifecycle.claim(
        runner.connection, {Lane("default", 0): START}, 1, claim_id=ids.uuid7(),
        worker=identity.name, worker_id=identity.worker_id, runner=identity.runner,
    )  # fmt: skip
    runner.dispatcher.sweep()

    runner.step_until(lambda: Job.objects.get(pk=job.pk).state == "succeeded")

    job.refresh()
    assert (job.attempt, job.losses) == (2, 0)


def test_a_runner_whose_worker_was_taken_for_dead_claims_nothing(
    one_runner: Callable[..., OneRunner],
) -> None:
    from jobs.models import Worker

    runner = one_runner()
    enqueue(tasks.noop)
    Worker.objects.all().delete()

    for _ in range(5):
        runner.dispatcher.step()

    assert Job.objects.get().state == "queued"


def test_claims_that_are_all_refused_are_logged_once_and_tried_at_a_slow_pace(
    one_runner: Callable[..., OneRunner],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("jobs.worker.claimer._MANY_IN_A_ROW", 3)
    monkeypatch.setattr("jobs.worker.claimer._TOO_MANY_IN_A_ROW", 6)
    runner = one_runner()
    enqueue_many(tasks.noop, [()] * 20)
    object.__setattr__(runner.identity, "name", "w" * 300)

    rests = [runner.dispatcher.step() for _ in range(30)]

    # All are set aside, and nothing is due any more.
    assert rests.count(_REST) >= 17
    assert Refusal.objects.count() == 6
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if "was refused and is set aside" in line]) == 3
    assert len([line for line in lines if "each claim is refused, of whatever job" in line]) == 1
    assert set(Job.objects.values_list("state", flat=True)) == {"queued"}


def test_a_job_that_was_locked_when_it_ended_is_recorded_before_a_burst_ends(
    one_runner: Callable[..., OneRunner], connection: Any
) -> None:
    job = enqueue(tasks.naps_in_small_bites, 0.2)
    runner = one_runner(burst=True)
    runner.step_until(lambda: runner.runner.slots.busy)

    with connection.transaction():
        connection.execute("SELECT 1 FROM jobs_job FOR UPDATE")
        runner.step_until(lambda: runner.dispatcher.recorder._later)
        for _ in range(5):
            runner.dispatcher.step()
        assert not runner.dispatcher.finished
    runner.step_until(lambda: runner.dispatcher.finished)

    job.refresh()
    assert job.state == "succeeded"


def test_what_is_given_back_is_claimed_before_anything_of_less_priority(
    one_runner: Callable[..., OneRunner],
) -> None:
    """A machine so slow that no slot took the first job in time."""
    second = enqueue(tasks.noop)
    first = tasks.noop.using(priority=5).enqueue()
    # A lone runner has a second connection for its claims.
    runner = one_runner(serves=False, processes=1, threads=1)
    runner.step_until(lambda: Job.objects.get(pk=first.pk).state == "running")
    time.sleep(2 * STANDSTILL)
    runner.step_until(lambda: Job.objects.get(pk=first.pk).attempt == 2)

    assert Job.objects.get(pk=second.pk).attempt == 0
    runner.thread.start()
    runner.step_until(lambda: not Job.objects.filter(finished_at=None).exists())
    rows = {job.pk: job for job in Job.objects.all()}
    assert rows[first.pk].last_attempted_at < rows[second.pk].last_attempted_at


def test_a_stopping_runner_gives_back_what_has_not_started(
    one_runner: Callable[..., OneRunner],
) -> None:
    runner = one_runner()
    runner.dispatcher.demand.ran(0.001, 1000)
    enqueue_many(tasks.nap, [(0.3,)] * 10)
    runner.step_until(lambda: runner.runner.slots.busy == 2)

    runner.dispatcher.stop()
    runner.step_until(lambda: runner.dispatcher.finished)

    states = sorted(Job.objects.values_list("state", flat=True))
    assert states == ["queued"] * 8 + ["succeeded"] * 2
    assert not Claim.objects.exists()


def test_a_sleeping_runner_says_so_and_a_busy_one_does_not(
    one_runner: Callable[..., OneRunner],
) -> None:
    from jobs.models import Worker

    runner = one_runner()

    runner.step_until(lambda: Worker.objects.get().idle == [runner.identity.runner])
    enqueue(tasks.noop)
    runner.step_until(lambda: Worker.objects.get().idle == [])


def test_a_runner_that_is_rung_claims_first_and_looks_if_that_brings_nothing(
    one_runner: Callable[..., OneRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = one_runner()
    dispatcher, bell = runner.dispatcher, runner.dispatcher._bell
    first = enqueue(tasks.noop)
    runner.step_until(lambda: Job.objects.get(pk=first.pk).is_finished)
    runner.step_until(lambda: dispatcher._rest.is_asleep)
    looks: list[str] = []
    for name in ("look", "glance"):
        real = getattr(lifecycle, name)

        def noted(*args: Any, name: str = name, real: Any = real) -> Any:
            looks.append(name)
            return real(*args)

        monkeypatch.setattr(lifecycle, name, noted)

    second = enqueue(tasks.noop)
    bell.ring()
    dispatcher._sleep(5)
    dispatcher.step()
    assert Job.objects.get(pk=second.pk).attempt == 1
    assert looks == []

    runner.step_until(lambda: dispatcher._rest.is_asleep)
    elsewhere = tasks.noop.using(queue_name="elsewhere").enqueue()
    bell.ring()
    dispatcher._sleep(5)
    looks.clear()
    assert dispatcher.step() == 0.0
    runner.step_until(lambda: Job.objects.get(pk=elsewhere.pk).is_finished)
    assert looks


def test_the_console_says_few_lines() -> None:
    lines: list[str] = []
    console = Console(lines.append)
    console.begin(Options(name="w", queues=("a", "b"), processes=2, threads=3))
    console.end(Counter({"succeeded": 1234, "failed": 1}))

    assert lines[0].startswith("worker w serves queues a, b; slots: 2 × 3")
    assert lines[-1].endswith("1,234 succeeded, 1 failed")


def test_a_job_that_a_free_slot_is_about_to_take_keeps_no_other_slot_empty(
    transactional_db: None,
) -> None:
    enqueue_many(tasks.noop, [()] * 9)
    runner = Runner(Options(threads=4), Identity(ids.uuid7(), "test/1"), Board(), Bell())
    runner.dispatcher.demand.ran(0.1, 1)
    # Its thread has not woken up yet.
    runner.slots.add([claimed()])
    with lifecycle.connect("jobs test") as own:
        [(_, limit)] = runner.dispatcher._claimer.wishes(own, time.monotonic(), look=True)

    assert limit == 3


def test_a_slot_that_is_free_gets_a_job_however_many_others_are_not(
    one_runner: Callable[..., OneRunner],
) -> None:
    runner = one_runner(threads=4)
    enqueue_many(tasks.nap, [(2.0,)] * 3)
    runner.step_until(lambda: runner.runner.slots.busy == 3)
    short = enqueue(tasks.noop)

    runner.step_until(lambda: Job.objects.get(pk=short.pk).is_finished)

    assert Job.objects.running().count() == 3


def test_a_job_that_lands_far_behind_the_mark_is_found(
    one_runner: Callable[..., OneRunner],
) -> None:
    # As after a transaction that was open for an hour, or a clock that was set back.
    runner = one_runner()
    first = enqueue(tasks.noop)
    runner.step_until(lambda: Job.objects.get(pk=first.pk).is_finished)

    with transaction.atomic():
        late = enqueue(tasks.noop)
        Job.objects.filter(pk=late.pk).update(run_at=Now() - timedelta(hours=1))

    runner.step_until(lambda: Job.objects.get(pk=late.pk).is_finished)


def test_a_lone_runner_claims_over_one_connection_and_records_over_another(
    one_runner: Callable[..., OneRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue_many(tasks.noop, [()] * 3000)
    runner = one_runner(processes=1)
    used: dict[str, set[int]] = {"claim": set(), "record": set()}
    for name, sessions in used.items():
        monkeypatch.setattr(lifecycle, name, noted(getattr(lifecycle, name), sessions))

    runner.step_until(lambda: not Job.objects.exclude(state="succeeded").exists())

    assert len(used["record"]) == 1
    assert used["claim"] > used["record"]


def noted(verb: Callable[..., Any], sessions: set[int]) -> Callable[..., Any]:
    def call(connection: Any, *args: Any, **kwargs: Any) -> Any:
        sessions.add(connection.info.backend_pid)
        return verb(connection, *args, **kwargs)

    return call


def test_what_was_claimed_while_a_record_failed_is_run_and_only_once(
    one_runner: Callable[..., OneRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue_many(tasks.noop, [()] * 3000)
    runner = one_runner(processes=1)
    failures = []
    record = lifecycle.record

    def failing(connection: Any, batch: Any) -> Any:
        if batch and len(failures) < 3:
            failures.append(len(batch))
            raise psycopg.OperationalError("the connection is lost")
        return record(connection, batch)

    monkeypatch.setattr(lifecycle, "record", failing)

    def goes_on() -> bool:
        try:
            runner.dispatcher.connect()
            runner.dispatcher.step()
        except psycopg.Error as error:
            runner.dispatcher.mend(error, 1)
        return not Job.objects.exclude(state="succeeded").exists()

    eventually(goes_on)

    assert len(failures) == 3
    assert set(Job.objects.values_list("attempt", flat=True)) == {1}


def test_a_claim_that_fails_beside_a_record_books_the_record_once(
    one_runner: Callable[..., OneRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = one_runner(processes=1, threads=3)
    enqueue_many(tasks.noop, [()] * 2)
    long = enqueue(tasks.nap, 2.0)
    claimer = runner.dispatcher._claimer
    broken = []

    def failing(connection: Any, wishes: Any) -> Any:
        broken.append(1)
        raise psycopg.OperationalError("the second connection is lost")

    def goes_on(condition: Callable[[], Any]) -> None:
        def step() -> Any:
            try:
                runner.dispatcher.connect()
                runner.dispatcher.step()
            except psycopg.Error as error:
                runner.dispatcher.mend(error, 1)
            return condition()

        eventually(step)

    goes_on(lambda: Job.objects.get(pk=long.pk).state == "running")
    eventually(lambda: len(runner.runner.slots.done) == 2)
    enqueue_many(tasks.noop, [()] * 5)
    with monkeypatch.context() as patched:
        patched.setattr(claimer, "claim_all", failing)
        goes_on(lambda: broken and Job.objects.filter(state="succeeded").count() >= 2)
        for _ in range(5):
            goes_on(lambda: True)

    # The long job's claim has its row still, for whoever would have to rescue it.
    assert long.pk in [pk for claim in Claim.objects.all() for pk in claim.ids]
    goes_on(lambda: Job.objects.filter(state="succeeded").count() == 8)
    assert runner.dispatcher._board.counters()["succeeded"] == 8


def test_a_job_that_was_given_away_before_it_started_does_not_start(
    one_runner: Callable[..., OneRunner], claim: Callable[..., list[Claimed]]
) -> None:
    runner = one_runner().runner
    enqueue(tasks.boom)
    (job,) = claim()

    runner._board.revoke()
    # As a slot does: what it sets is not there for the next.
    outcome = contextvars.Context().run(runner._run, job, Context(job))

    assert type(outcome) is TakenOver
    assert runner._board.started(job.claim) == set()
    assert job.started_at == 0.0


def test_the_pulse_goes_on_while_the_dispatcher_waits_for_the_database() -> None:
    board = Board()
    pulse = Pulse(board)
    pulse.start()
    board.hold(0, 5)
    before = board.ticked_at

    pulse.need(True)

    eventually(lambda: board.ticked_at > before + 0.15)
    assert board.waiting == 5
    pulse.need(False)


def test_what_stands_behind_a_coroutine_that_does_not_give_way_can_be_taken_back() -> None:
    begun, over = threading.Event(), threading.Event()

    async def run(job: Claimed, context: Context) -> Outcome:
        begun.set()
        over.wait(10)
        return Succeeded()

    slots = CoroutineSlots(100, run, Context)
    slots.add([claimed(str(i)) for i in range(30)])
    assert begun.wait(10)

    taken = slots.take_back()
    over.set()

    eventually(lambda: len(slots.done) == 1 and slots.in_hand == 0)
    assert len(taken) == 29


@pytest.mark.parametrize("moment", ["1900-01-01", "2020-01-01"])
def test_a_job_of_the_past_by_sql_runs_too(
    one_runner: Callable[..., OneRunner], moment: str
) -> None:
    runner = one_runner()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO jobs_job (task, run_at) VALUES ('tests.tasks.noop', %s), "
            "('tests.tasks.noop', '9000-01-01')",
            [moment],
        )

    runner.step_until(lambda: Job.objects.filter(state="succeeded").count() == 1)

    assert Job.objects.queued().count() == 1


def test_a_line_of_longer_jobs_than_were_known_is_given_back_but_for_what_starts_soon(
    one_runner: Callable[..., OneRunner],
) -> None:
    runner = one_runner(threads=4)
    enqueue_many(tasks.noop, [()] * 500)
    runner.step_until(lambda: not Job.objects.exclude(state="succeeded").exists())
    enqueue_many(tasks.nap, [(0.06,)] * 100)
    runner.step_until(lambda: len(runner.runner.slots.line) > 50)

    # It moves all the time, and would for a second and a half.
    runner.step_until(lambda: len(runner.runner.slots.line) < 10)

    runner.step_until(lambda: Job.objects.queued().count() > 50)
