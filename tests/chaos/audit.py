"""The auditor: proves the promises from the tables and from what the attempts said."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection

from jobs.models import Claim, Job, Worker

# How each kind of job may have ended: state and reason.
ENDS: dict[str, set[tuple[str, str]]] = {
    "plain": {("succeeded", "")},
    "asynchronous": {("succeeded", "")},
    "atomic": {("succeeded", "")},
    "flaky": {("succeeded", "")},
    "slow": {("failed", "timeout")},
    "stubborn": {("failed", "timeout")},
    "poison": {("failed", "lost")},
    "endless": {("cancelled", "cancelled")},
}


@dataclass
class Kill:
    """A runner that was killed, on the clock that all processes share, in nanoseconds."""

    at: int
    pid: int
    supervisor: int


@dataclass
class Done:
    """What was done to the system."""

    kills: list[Kill] = field(default_factory=list)
    # When PostgreSQL, or a whole worker, was away: from, to.
    outages: list[tuple[int, int]] = field(default_factory=list)
    # When a supervisor could see nothing, being frozen or dead: its process, from, to.
    blind: list[tuple[int, int, int]] = field(default_factory=list)
    # When a kind of jobs was paused: which, from, to.
    pauses: list[tuple[str, int, int]] = field(default_factory=list)
    # When PostgreSQL was back.
    returns: list[int] = field(default_factory=list)
    # Processes that were frozen for longer than their heartbeat's timeout.
    frozen: set[int] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass
class Report:
    wrong: list[str]
    figures: dict[str, Any]


def audit(folder: Path, numbers: set[int], done: Done) -> Report:
    """`numbers`: of the jobs whose enqueueing is known to have committed."""
    wrong: list[str] = []
    jobs = {job.args[0]: job for job in Job.objects.all()}
    wrong += [f"job {number} is lost" for number in sorted(numbers - jobs.keys())]
    states: Counter[str] = Counter()
    for number, job in jobs.items():
        kind = job.task.rpartition(".")[2]
        states[f"{kind} {job.state}"] += 1
        if (job.state, job.reason or "") not in ENDS[kind]:
            wrong.append(f"job {number} ({kind}) is {job.state}, {job.reason}; {_errors(job)}")
    wrong += _effects(jobs)
    lines = [line.split() for line in (folder / "log").read_text().splitlines()]
    wrong += _attempts(lines, jobs, done)
    if left := Claim.objects.count():
        wrong.append(f"{left} claims are left")
    if left := Worker.objects.count():
        wrong.append(f"{left} workers are left")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'jobs %%'"
        )
        (left,) = cursor.fetchone()
    if left:
        wrong.append(f"{left} connections are left")
    # What nobody has expected is told with where it is; nothing here raises on purpose.
    told = (folder / "worker.log").read_text(errors="replace")
    if unexpected := told.count("Traceback (most recent call last)"):
        wrong.append(f"worker.log has {unexpected} tracebacks")
    figures = {"jobs": len(jobs), **_restarts(lines, jobs, done), **_returns(lines, done)}
    return Report(wrong, {**figures, "states": dict(states)})


def _errors(job: Job[Any]) -> str:
    return "; ".join(f"{one.attempt}: {one.message[:80]}" for one in job.errors[-3:])


def _effects(jobs: dict[int, Job[Any]]) -> list[str]:
    """An atomic task has its effect exactly once, if it has succeeded."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT number, count(*) FROM chaos_ledger GROUP BY number")
        effects = dict(cursor.fetchall())
    wrong = []
    for number, job in jobs.items():
        expected = int(job.task.endswith(".atomic") and job.state == "succeeded")
        if effects.get(number, 0) != expected:
            wrong.append(f"job {number} has {effects.get(number, 0)} effects, not {expected}")
    return wrong


def _attempts(lines: list[list[str]], jobs: dict[int, Job[Any]], done: Done) -> list[str]:
    wrong = []
    last: dict[int, int] = {}
    ran: set[int] = set()
    for _, what, number, attempt, pid, holder in lines:
        key = int(number)
        # Nobody can take a job away from a process that is frozen; it can only not write.
        if what == "overlap" and not {int(pid), int(holder)} & done.frozen:
            wrong.append(f"job {key} ran at once in {holder} and {pid} (attempt {attempt})")
        if what in ("start", "overlap"):
            ran.add(key)
            if int(attempt) <= last.get(key, 0):
                wrong.append(f"job {key} started attempt {attempt} after {last[key]}")
            last[key] = int(attempt)
    succeeded = {number for number, job in jobs.items() if job.state == "succeeded"}
    wrong += [f"job {number} succeeded and never ran" for number in succeeded - ran]
    return wrong


def _restarts(lines: list[list[str]], jobs: dict[int, Job[Any]], done: Done) -> dict[str, Any]:
    """From a runner's kill to the next start of the jobs that it ran, in milliseconds; not while
    PostgreSQL was away, the supervisor frozen or dead, or the task paused, and not for jobs that
    this kill ended."""
    starts: dict[int, list[int]] = defaultdict(list)
    open_in: dict[int, dict[int, int]] = defaultdict(dict)
    kills = sorted(done.kills, key=lambda kill: kill.at)
    running: list[tuple[Kill, int]] = []
    upcoming = iter([*kills, None])
    kill = next(upcoming)
    for at, what, number, _, pid, _ in lines:
        moment = int(at)
        while kill is not None and moment > kill.at:
            running += [(kill, one) for one in open_in.pop(kill.pid, {})]
            kill = next(upcoming)
        if what == "end":
            open_in[int(pid)].pop(int(number), None)
        else:
            open_in[int(pid)][int(number)] = moment
            starts[int(number)].append(moment)
    taken = []
    for one, number in running:
        following = [start for start in starts[number] if start > one.at]
        away = any(began - 2e9 <= one.at <= ended + 6e9 for began, ended in done.outages)
        blind = any(
            supervisor == one.supervisor and began - 1e9 <= one.at <= ended
            for supervisor, began, ended in done.blind
        )
        kind = jobs[number].task.rpartition(".")[2]
        # It may have been put off until its task was resumed.
        paused = any(
            one.at <= ended and following[0] >= began
            for paused_kind, began, ended in done.pauses
            if following and paused_kind == kind
        )
        if following and not away and not blind and not paused:
            taken.append((following[0] - one.at) / 1e6)
    if not taken:
        return {"restarts": 0}
    taken.sort()
    return {
        "restarts": len(taken),
        "restart_p50_ms": round(statistics.median(taken)),
        "restart_p99_ms": round(taken[min(len(taken) - 1, int(len(taken) * 0.99))]),
        "slowest_restarts_ms": [round(one) for one in taken[-5:]],
    }


def _returns(lines: list[list[str]], done: Done) -> dict[str, Any]:
    """After PostgreSQL was back: the seconds until as many jobs ended in one as in the median
    second of the whole run."""
    ends = sorted(int(line[0]) for line in lines if line[1] == "end")
    if not ends or not done.returns:
        return {}
    per_second = Counter((end - ends[0]) // 10**9 for end in ends)
    usual = statistics.median(per_second.values())
    taken = []
    for back in done.returns:
        later = [end for end in ends if end > back]
        for start in range(60):
            window = (back + start * 10**9, back + (start + 1) * 10**9)
            if sum(window[0] < end <= window[1] for end in later) >= usual:
                taken.append(start + 1)
                break
    return {"full_pace_after_s": taken}
