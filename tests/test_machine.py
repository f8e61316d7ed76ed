"""Every verb of a job's life in any order, on real PostgreSQL, beside a model of a few lines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as django
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from jobs import ids, lifecycle
from jobs.errors import InvalidTransition
from jobs.lifecycle import START, Claimed, Ended, Lane
from jobs.models import Attempt, Claim, Job
from jobs.outcomes import (
    Cancelled,
    Failed,
    Outcome,
    Problem,
    Released,
    Retried,
    Snoozed,
    Succeeded,
)
from jobs.worker import Options, presence
from tests import tasks

PROBLEM = Problem("builtins.ValueError", "boom", "")
AGAIN = timedelta(0)
FINAL = {"succeeded", "failed", "cancelled"}


@dataclass
class Model:
    """What a job should be."""

    max_attempts: int
    max_losses: int
    state: str = "queued"
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    holder: str | None = None
    to_cancel: bool = False
    # Attempts that are kept: all but successes and what never started.
    kept: int = 0

    def end(self, state: str) -> None:
        if state == "queued" and self.to_cancel:
            state = "cancelled"
        self.state, self.holder = state, None


class Life(RuleBasedStateMachine):
    attempts = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        with django.cursor() as cursor:
            cursor.execute("TRUNCATE jobs_job, jobs_log, jobs_attempt, jobs_claim, jobs_worker")
        self.models: dict[str, Model] = {}
        self.connection = lifecycle.connect("jobs test")
        self.worker_id = ids.uuid7()
        presence.register(self.connection, self.worker_id, Options(name="test"), [])

    def teardown(self) -> None:
        self.connection.close()

    @rule(most=st.integers(1, 3), losses=st.integers(0, 2), priority=st.integers(0, 1))
    def enqueue(self, most: int, losses: int, priority: int) -> None:
        using = tasks.noop.using(max_attempts=most, max_losses=losses, priority=priority)
        self.models[str(using.enqueue().pk)] = Model(most, losses)

    @rule(target=attempts, limit=st.integers(1, 3))
    def claim(self, limit: int) -> Any:
        marks = dict.fromkeys([Lane("default", 1), Lane("default", 0)], START)
        found = lifecycle.claim(
            self.connection,
            marks,
            limit,
            claim_id=ids.uuid7(),
            worker="test/1",
            worker_id=self.worker_id,
            runner=ids.uuid7(),
        ).read()
        queued = [id_ for id_, model in self.models.items() if model.state == "queued"]
        assert len(found.jobs) == min(limit, len(queued))
        for job in found.jobs:
            model = self.models[job.id]
            assert model.state == "queued"
            model.state, model.holder = "running", job.claim
            model.attempt += 1
            assert (job.attempt, job.failures) == (model.attempt, model.failures)
        return multiple(*found.jobs)

    @rule(job=attempts, how=st.sampled_from(["succeed", "fail", "snooze", "release", "cancel"]))
    def finish(self, job: Claimed, how: str) -> None:
        """Also of attempts that are somebody else's by now, and of those that have ended."""
        model = self.models[job.id]
        is_mine = model.state == "running" and model.holder == job.claim
        outcome = self.outcome(model, how)
        job.started_at = job.finished_at = 0.0 if how == "release" else job.now()

        recorded = lifecycle.record(self.connection, [Ended(job, outcome)]).recorded()

        assert recorded == ({job.id} if is_mine else set())
        if not is_mine:
            return
        model.failures += isinstance(outcome, Failed | Retried)
        model.kept += not isinstance(outcome, Succeeded | Released)
        states = {Succeeded: "succeeded", Failed: "failed", Cancelled: "cancelled"}
        model.end(states.get(type(outcome), "queued"))

    def outcome(self, model: Model, how: str) -> Outcome:
        if how == "fail":
            is_last = model.failures + 1 >= model.max_attempts
            return Failed(PROBLEM) if is_last else Retried(PROBLEM, AGAIN)
        return {
            "succeed": Succeeded("1"),
            "snooze": Snoozed(AGAIN),
            "release": Released(),
            "cancel": Cancelled(PROBLEM),
        }[how]

    @rule(job=attempts, charged=st.booleans(), started=st.booleans())
    def lose(self, job: Claimed, charged: bool, started: bool) -> None:
        """The claim's process died, or could not start what it held."""
        lifecycle.give_back(
            self.connection,
            job.claim,
            note="killed",
            charged=charged,
            started=None if started else [],
        )
        for model in self.models.values():
            if model.state != "running" or model.holder != job.claim:
                continue
            lost = charged and started
            fails = (lost and model.losses >= model.max_losses) or (
                started and model.max_losses == 0
            )
            model.losses += lost
            model.kept += lost or fails
            model.end("failed" if fails else "queued")

    @rule(job=attempts, timed_out=st.booleans())
    def kill(self, job: Claimed, timed_out: bool) -> None:
        """It went on beyond its limit: its end is recorded on its behalf."""
        model = self.models[job.id]
        is_mine = model.state == "running" and model.holder == job.claim
        outcome = self.outcome(model, "fail" if timed_out else "cancel")
        ended = lifecycle.end_killed(self.connection, job.id, job.claim, 0.0, outcome)
        assert (ended is not None) == is_mine
        if is_mine:
            model.failures += timed_out
            model.kept += 1
            model.end({Failed: "failed", Cancelled: "cancelled"}.get(type(outcome), "queued"))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if not self.models:
            return
        id_ = data.draw(st.sampled_from(sorted(self.models)))
        model = self.models[id_]
        assert Job.objects.get(pk=id_).cancel() is (model.state not in FINAL)
        if model.state == "queued":
            model.state = "cancelled"
        elif model.state == "running":
            model.to_cancel = True

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        if not self.models:
            return
        id_ = data.draw(st.sampled_from(sorted(self.models)))
        model = self.models[id_]
        if model.state in {"failed", "cancelled"}:
            Job.objects.get(pk=id_).retry()
            model.state, model.failures, model.losses = "queued", 0, 0
            model.to_cancel = False
        else:
            with pytest.raises(InvalidTransition):
                Job.objects.get(pk=id_).retry()

    @invariant()
    def the_tables_say_what_the_model_says(self) -> None:
        rows = {str(job.pk): job for job in Job.objects.all()}
        assert rows.keys() == self.models.keys()
        kept: dict[str, int] = dict.fromkeys(rows, 0)
        for id_ in Attempt.objects.values_list("job_id", flat=True):
            kept[str(id_)] += 1
        for id_, model in self.models.items():
            job = rows[id_]
            told = (job.state, job.attempt, job.failures, job.losses, kept[id_])
            assert told == (model.state, model.attempt, model.failures, model.losses, model.kept)
            assert job.claimable is (model.state == "queued")
            assert (job.finished_at is not None) is (model.state in FINAL)

    @invariant()
    def what_runs_is_held_by_a_claim_that_can_be_rescued(self) -> None:
        held = {str(id_) for claim in Claim.objects.all() for id_ in claim.ids}
        assert {id_ for id_, model in self.models.items() if model.state == "running"} <= held


@pytest.mark.django_db(transaction=True)
def test_every_order_of_verbs_leaves_what_the_model_says() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Life,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
