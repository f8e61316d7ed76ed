"""What a task logs, kept with its attempt: bounded, live, and for whom may see it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.test import Client, override_settings

from jobs import enqueue, lifecycle
from jobs.errors import JobTimeout
from jobs.execution import Log
from jobs.execution.logs import LogHandler, keep_logs, told
from jobs.lifecycle import Claimed, Ended
from jobs.models import AttemptLog, Job
from jobs.outcomes import Committed, Failed, Problem, Succeeded
from jobs.testing import make_job
from jobs.worker.logs import Logs
from tests import tasks
from tests.eventually import eventually
from tests.test_admin import client_with, page, user_with
from tests.workers import WorkerProcess

Start = Callable[..., WorkerProcess]
FAILED = Failed(Problem("builtins.ValueError", "no", ""))


def url_of(job: Job[Any]) -> str:
    return f"/admin/jobs/job/{job.pk}/change/"


def log_of(job: Job[Any]) -> AttemptLog:
    found: AttemptLog = AttemptLog.objects.get(job=job)
    return found


@pytest.mark.parametrize("end", ["", " … до конца"])
def test_of_a_hundred_thousand_lines_the_first_and_the_last_are_kept(end: str) -> None:
    log = Log(64_000)
    for i in range(100_000):
        log.add(f"line {i}{end}")
    lines = log.text.split("\n")
    kept = [int(line.split()[1]) for line in lines if line.startswith("line")]

    assert log.lines == 100_000
    # Without the line that counts the lines left out.
    assert len(log.text.encode()) < 64_000 + 20
    assert kept[0] == 0
    assert kept[-1] == 99_999
    assert f"… {100_000 - len(kept):,} …" in lines
    half = lines.index(f"… {100_000 - len(kept):,} …")
    assert kept[:half] == list(range(half))


def test_a_short_log_is_whole_and_one_long_line_is_kept_however_long() -> None:
    log = Log(100)
    for line in ("one", "two", "x" * 500):
        log.add(line)

    assert log.text == "one\ntwo\n" + "x" * 500


def test_a_record_is_told_with_its_moment_its_level_and_its_traceback() -> None:
    try:
        raise KeyError("x")
    except KeyError as error:
        info = (KeyError, error, error.__traceback__)
    record = logging.LogRecord("shop", logging.ERROR, "f.py", 1, "lost %s", ("it",), info)
    record.created = 1_700_000_000.0126
    lines = told(record).split("\n")

    assert lines[0] == "2023-11-14T22:13:20.012Z ERROR shop: lost it"
    # Nothing that it says looks like another record.
    assert lines[-1] == "  KeyError: 'x'"
    record.msg, record.args, record.exc_info = "y" * 50_000, (), None
    record.exc_text = None
    assert len(told(record)) < 9_000


@contextmanager
def a_root(*handlers: logging.Handler, level: int = logging.WARNING) -> Iterator[logging.Logger]:
    root = logging.getLogger()
    before, before_level = root.handlers, root.level
    root.handlers = list(handlers)
    root.setLevel(level)
    try:
        yield root
    finally:
        root.handlers = before
        root.setLevel(before_level)


def test_a_site_that_has_not_said_what_it_logs_keeps_info_and_shows_what_it_did() -> None:
    with a_root() as root:
        keep_logs()

        assert root.level == logging.INFO
        assert isinstance(root.handlers[1], LogHandler)


def test_with_our_handler_the_console_shows_what_it_did_before(
    capfd: pytest.CaptureFixture[str],
) -> None:
    silent, heard = logging.getLogger("tests.silent"), logging.getLogger("tests.heard")
    shown = logging.StreamHandler()
    heard.addHandler(shown)

    def said() -> str:
        for one in (silent, heard):
            one.warning("%s warns", one.name)
            one.getChild("child").info("%s tells", one.name)
        return capfd.readouterr().err

    try:
        with a_root():
            before = said()
            keep_logs()
            # What a handler of somebody's own shows is theirs: a lower root lets more through.
            assert said().replace("tests.heard tells\n", "") == before
        assert before == "tests.silent warns\ntests.heard warns\n"
    finally:
        heard.removeHandler(shown)


def test_a_site_that_has_said_what_it_logs_is_heeded() -> None:
    own = logging.NullHandler()
    with a_root(own) as root:
        keep_logs()

        assert root.level == logging.WARNING
        assert root.handlers[0] is own
        assert isinstance(root.handlers[1], LogHandler)


def test_a_site_that_wants_no_logs_has_no_handler() -> None:
    with a_root() as root, override_settings(JOBS={"KEEP_LOG": "never"}):
        keep_logs()

        assert root.handlers == []


def test_what_is_logged_outside_of_a_job_is_nobodys() -> None:
    record = logging.LogRecord("shop", logging.INFO, "f.py", 1, "hello", (), None)

    LogHandler("INFO").handle(record)


@pytest.mark.parametrize(
    ("policy", "outcome", "is_kept"),
    [
        ("on_failure", Succeeded(), False),
        ("on_failure", Committed(), False),
        ("on_failure", FAILED, True),
        ("always", Succeeded(), True),
        ("always", Committed(), True),
    ],
)
@pytest.mark.parametrize("is_live", [True, False])
def test_the_end_decides_what_is_kept(
    connection: psycopg.Connection[Any],
    claim: Callable[..., list[Claimed]],
    policy: str,
    outcome: Any,
    *,
    is_kept: bool,
    is_live: bool,
) -> None:
    job = enqueue(tasks.noop)
    enqueue(tasks.noop)
    claimed, silent = claim(2)
    with override_settings(JOBS={"KEEP_LOG": policy}):
        logs = Logs("test/1")
    log = logs.of(claimed, 1000)
    log.add("one")
    if is_live:
        logs.write(connection, 100.0)
        assert log_of(job).text == "one"
        # Nothing new, or too soon: nothing is written.
        AttemptLog.objects.update(text="as it was")
        logs.write(connection, 200.0)
        log.add("two")
        logs.write(connection, 200.5)
        assert log_of(job).text == "as it was"
    else:
        log.add("two")
    for _ in range(2):
        # Again, should the first time not commit.
        logs.end(connection, [Ended(claimed, outcome), Ended(silent, outcome)])
    logs.forget([Ended(claimed, outcome)])

    assert not logs._open
    assert [(one.attempt, one.lines, one.text) for one in AttemptLog.objects.all()] == (
        [(1, 2, "one\ntwo")] if is_kept else []
    )


def test_a_zombie_writes_no_log(
    connection: psycopg.Connection[Any], claim: Callable[..., list[Claimed]]
) -> None:
    job = enqueue(tasks.noop)
    [claimed] = claim()
    claimed.claim = "00000000-0000-0000-0000-000000000000"
    logs = Logs("test/1")
    logs.of(claimed, 1000).add("too late")
    logs.end(connection, [Ended(claimed, FAILED)])

    assert not AttemptLog.objects.filter(job=job).exists()


def test_a_worker_keeps_what_failed_attempts_logged(start_worker: Start) -> None:
    bad = enqueue(tasks.logs, "sold", lines=3, and_then="fail")
    of_coroutine = enqueue(tasks.logs_asynchronously, "awaited")
    good = enqueue(tasks.logs, "all went well")
    many = enqueue(tasks.logs, "line", lines=20_000, and_then="fail")
    assert start_worker("--burst", "--processes", "1").wait() == 0

    told = log_of(bad)
    rows = [re.sub(r"^\S+Z ", "", row) for row in told.text.split("\n")]
    assert told.lines == 5
    assert rows[:4] == [
        "INFO tests.tasks: sold 1",
        "INFO tests.tasks: sold 2",
        "INFO tests.tasks: sold 3",
        "WARNING tests.tasks: it goes wrong <soon>",
    ]
    assert "  KeyError: 'the inner one'" in rows
    assert log_of(of_coroutine).text.endswith("INFO tests.tasks: awaited")
    assert not AttemptLog.objects.filter(job=good).exists()
    assert log_of(many).lines == 20_002
    assert len(log_of(many).text) < 80_000


def test_a_running_jobs_log_is_seen_and_outlives_its_process(start_worker: Start) -> None:
    job = enqueue(tasks.logs, "counting", lines=3, and_then="die")
    worker = start_worker("--processes", "1", JOBS_TEST_KEEP_LOG="always")
    superuser = client_with(is_superuser=True)

    eventually(lambda: AttemptLog.objects.filter(job=job).exists())
    assert "counting 3" in page(superuser, url_of(job))
    eventually(lambda: AttemptLog.objects.filter(job=job).count() == 2)
    Job.objects.get(pk=job.pk).cancel()
    worker.stop()
    assert AttemptLog.objects.get(job=job, attempt=1).text.count("\n") == 2


def test_what_all_attempts_logged_goes_with_the_job(
    connection: psycopg.Connection[Any],
) -> None:
    job = make_job(state="failed")
    AttemptLog.objects.create(job=job, attempt=1, lines=1, text="x")
    lifecycle.prune(connection, [str(job.pk)])

    assert not AttemptLog.objects.exists()


@pytest.mark.parametrize(
    "line", ["2026-99-99T00:00:00.000Z ERROR x: y", "0001-01-01T00:00:00.000Z INFO x: y", "\ufffe"]
)
def test_a_line_that_looks_like_a_record_breaks_no_page(transactional_db: None, line: str) -> None:
    superuser = client_with(is_superuser=True)
    superuser.cookies["jobs_zone"] = "America/Lima"
    job = make_job(state="failed")
    AttemptLog.objects.create(job=job, attempt=1, lines=1, text=line)

    assert "log, 1 line" in page(superuser, url_of(job))


def test_an_interruption_that_meets_the_handler_reaches_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = logging.LogRecord("shop", logging.INFO, "f.py", 1, "hello", (), None)
    monkeypatch.setattr("jobs.execution.logs.current_or_none", Interrupted)
    with pytest.raises(JobTimeout):
        LogHandler("INFO").handle(record)


class Interrupted:
    def keep(self, line: str, most: int) -> None:
        raise JobTimeout("too long")


def test_what_is_refused_of_a_log_costs_no_outcome(
    connection: psycopg.Connection[Any], claim: Callable[..., list[Claimed]]
) -> None:
    enqueue(tasks.noop)
    [claimed] = claim()
    logs = Logs("test/1")
    logs.of(claimed, 1000).add("not to be kept \0")
    logs.end(connection, [Ended(claimed, FAILED)])
    logs.write(connection, 1e9)

    assert not AttemptLog.objects.exists()
    connection.execute("SELECT 1")


def test_what_a_job_leaves_behind_logs_to_nobody(
    connection: psycopg.Connection[Any], claim: Callable[..., list[Claimed]]
) -> None:
    enqueue(tasks.noop)
    [claimed] = claim()
    claimed.is_over = True
    logs = Logs("test/1")
    logs.of(claimed, 1000).add("too late")
    logs.write(connection, 1e9)

    assert not logs._open
    assert not AttemptLog.objects.exists()


def test_the_page_shows_each_record_and_only_to_whom_may_see_payloads(
    transactional_db: None,
) -> None:
    job = make_job(state="failed")
    text = (
        "2026-01-01T10:00:00.000Z INFO shop.tasks: <b>sold</b>\n"
        "2026-01-01T10:00:01.000Z ERROR shop.tasks: oh\n  two rows\n… 12 …\nno record"
    )
    AttemptLog.objects.create(job=job, attempt=1, lines=14, text=text)
    superuser, few = client_with(is_superuser=True), Client()
    few.force_login(user_with("view_job", name="few"))
    shown = page(superuser, url_of(job))

    assert "log, 14 lines" in shown
    assert "INFO shop.tasks: &lt;b&gt;sold&lt;/b&gt;</span>" in shown
    assert re.search(r'<span class="jobs-log-ERROR"><time [^>]*>[^<]*</time> ERROR [^<]*\n', shown)
    assert "<span>… 12 …\nno record</span>" in shown
    assert "sold" in superuser.get(f"/admin/jobs/job/{job.pk}/download/").json()["logs"][0]["text"]
    assert "sold" not in page(few, url_of(job))
    assert "logs" not in few.get(f"/admin/jobs/job/{job.pk}/download/").json()
