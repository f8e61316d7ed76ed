"""The worker's parts, in this process: slots, demand, board, bell, watch, dispatcher."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from jobs import enqueue, enqueue_many, ids, lifecycle
from jobs.errors import JobCancelled, JobTimeout
from jobs.execution import Context
from jobs.lifecycle import Claimed, Lane
from jobs.models import Claim, Job, Queue
from jobs.outcomes import Cancelled, Failed, Outcome, Succeeded
from jobs.worker import Options, presence
from jobs.worker.bell import Bell, Call
from jobs.worker.board import Board
from jobs.worker.console import Console
from jobs.worker.coroutines import CoroutineSlots
from jobs.worker.demand import MOST_CLAIMED, Demand
from jobs.worker.options import Identity
from jobs.worker.rest import Rest
from jobs.worker.runner import Runner
from jobs.worker.slots import ThreadSlots
from jobs.worker.watch import Watch
from tests import tasks
from tests.eventually import eventually


def claimed(id_: str = "a", timeout: float | None = None) -> Claimed:
    row = [id_, "task", "{}", 1, 0, None, "default", None, timeout, None]
    return Claimed(row, "claim", 0.0)


# Demand.


def test_a_runner_asks_for_one_job_for_each_slot_until_it_knows_them() -> None:
    assert Demand(threads=3).target == 3


def test_short_jobs_are_asked_for_by_the_hundred_and_long_ones_one_by_one() -> None:
    short, long = Demand(1), Demand(1)
    short.ran(0.001, 1000)
    long.ran(60.0, 1)

    assert short.target == MOST_CLAIMED
    assert long.target == 1


def test_a_line_that_stands_still_ends_the_prefetch_at_once() -> None:
    demand = Demand(1)
    demand.ran(0.001, 1000)
    demand.stood_still(0.1)

    assert demand.target == 1


def test_lanes_that_held_only_async_tasks_are_for_the_coroutines() -> None:
    demand = Demand(1)
    mail, sums = Lane("mail", 0), Lane("sums", 0)
    demand.saw("mail", only_async=True)

    assert demand.split([mail, sums]) == ([sums], [mail])
    demand.saw("mail", only_async=False)
    assert demand.split([mail, sums]) == ([mail, sums], [])


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
    board.count({"succeeded": 2, "failed": 1}, running=1)
    board.count({"succeeded": 1}, running=0)

    assert board.started(claim) == {one}
    assert board.started(str(ids.uuid7())) == set()
    assert board.counters()["succeeded"] == 3
    assert board.counters()["failed"] == 1


def test_a_board_of_many_threads_loses_no_start_and_forgets_what_is_recorded() -> None:
    board, claim, other = Board(), str(ids.uuid7()), str(ids.uuid7())
    parts = [[str(one) for one in ids.uuid7s(2000)] for _ in range(4)]

    def work(part: list[str]) -> None:
        for job_id in part:
            board.start(job_id, claim)

    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert board.started(claim) == {job_id for part in parts for job_id in part}
    for job_id in parts[0]:
        board.end(job_id, claim)
    for job_id in ids.uuid7s(20_000):
        board.start(str(job_id), other)
        board.end(str(job_id), other)
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


# The dispatcher, step by step.


class OneRunner:
    """A runner whose rounds the test takes itself, and whose slots are threads."""

    def __init__(self, **options: Any) -> None:
        self.options = Options(threads=2, **options)
        self.identity = Identity(ids.uuid7(), "test/1")
        self.connection = lifecycle.connect("jobs test")
        presence.register(
            self.connection, self.identity.worker_id, self.options, [self.identity.runner]
        )
        self.runner = Runner(self.options, self.identity, Board(), Bell())
        self.dispatcher = self.runner.dispatcher
        self.dispatcher.connect()
        self.thread = threading.Thread(target=self.runner.slots.serve, daemon=True)
        self.thread.start()

    def step_until(self, condition: Callable[[], Any]) -> None:
        def step() -> Any:
            self.dispatcher.step()
            return condition()

        eventually(step)

    def close(self) -> None:
        self.runner.slots.close()
        self.thread.join(10)
        self.dispatcher.leave()
        self.connection.close()


@pytest.fixture
def one_runner(transactional_db: None) -> Iterator[Callable[..., OneRunner]]:
    made: list[OneRunner] = []

    def make(**options: Any) -> OneRunner:
        made.append(OneRunner(**options))
        return made[-1]

    yield make
    for runner in made:
        runner.close()


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


def test_a_job_of_an_unknown_task_fails_with_the_reason(
    one_runner: Callable[..., OneRunner],
) -> None:
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


def test_a_claim_whose_reply_was_lost_is_given_back(one_runner: Callable[..., OneRunner]) -> None:
    runner = one_runner()
    job = enqueue(tasks.noop)
    identity = runner.identity
    lifecycle.claim(
        runner.connection, [Lane("default", 0)], 1, claim_id=ids.uuid7(), worker=identity.name,
        worker_id=identity.worker_id, runner=identity.runner,
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


def test_a_claim_that_always_fails_is_told_and_not_tried_at_once_again(
    one_runner: Callable[..., OneRunner],
) -> None:
    import psycopg

    runner = one_runner()
    enqueue(tasks.noop)
    object.__setattr__(runner.identity, "name", "w" * 300)

    with pytest.raises(psycopg.errors.StringDataRightTruncation) as error:
        runner.dispatcher.step()
    assert runner.dispatcher.mend(error.value, 3) > 0.1
    assert Job.objects.get().state == "queued"


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


def test_the_console_says_few_lines() -> None:
    lines: list[str] = []
    console = Console(lines.append)
    console.begin(Options(name="w", queues=("a", "b"), processes=2, threads=3))
    console.add({"succeeded": 1200, "failed": 1})
    console.end({"succeeded": 34})

    assert lines[0].startswith("worker w serves queues a, b; slots: 2 × 3")
    assert lines[-1].endswith("1,234 succeeded, 1 failed")
