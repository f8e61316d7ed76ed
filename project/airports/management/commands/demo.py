"""`manage.py demo`: the site's main job on real input, to its end, through its own pages."""

from __future__ import annotations

import http.cookiejar
import re
import sys
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.models import Count

from jobs import Job
from jobs.models import FINAL, JobQuerySet
from project.airports.models import Airport, Country, Import
from project.airports.processes import free_port, prepare, running
from project.airports.views import DATA

PATIENCE = 120.0


class Command(BaseCommand):
    help = (
        "Start site, worker and beat; upload a CSV file of 7,884 airports as a browser would; "
        "watch its import; and check in the database that all of it is true."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", default=str(DATA / "airports.csv"))

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        prepare()
        port = free_port(8000)
        self.stdout.write(f"PostgreSQL {_server_version()}, and site, worker and beat are starting")
        with running(port, quiet=True):
            upload = self._upload(f"http://127.0.0.1:{port}", Path(options["file"]))
            self._watch(upload)
        upload.refresh_from_db()
        wrong = self._tell(upload, time.monotonic() - started)
        if wrong:
            raise CommandError(f"This is not as it should be: {'; '.join(wrong)}.")

    def _upload(self, site: str, file: Path) -> Import:
        """Post the form of the first page, as a browser does."""
        jar = http.cookiejar.CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        page = browser.open(f"{site}/").read().decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token is not None
        boundary = uuid.uuid4().hex
        body = _multipart(boundary, token[1], file)
        content_type = f"multipart/form-data; boundary={boundary}"
        request = urllib.request.Request(  # noqa: S310  (our own site)
            f"{site}/", body, {"Content-Type": content_type}
        )
        with browser.open(request) as answer:
            found = re.search(r"/imports/(\d+)/", answer.url)
        if found is None:
            raise CommandError(f"The site refused {file.name}: it must be a .csv file.")
        self.stdout.write(f"Uploaded {file.name} ({file.stat().st_size:,} bytes) through the page")
        return Import.objects.get(pk=found[1])

    def _watch(self, upload: Import) -> None:
        deadline = time.monotonic() + PATIENCE
        while upload.finished_at is None or _jobs_of(upload).exclude(state__in=FINAL).exists():
            if time.monotonic() > deadline:
                raise CommandError(f"The import has not finished in {PATIENCE:g} s.")
            time.sleep(0.1)
            upload.refresh_from_db()
            self._bar(upload)
        if sys.stdout.isatty():
            self.stdout.write("")

    def _bar(self, upload: Import) -> None:
        """A progress bar on a terminal; elsewhere only its end, so that logs stay short."""
        share = upload.done / upload.total if upload.total else 0.0
        line = f"[{'#' * round(40 * share):<40}] {upload.done:,} of {upload.total or 0:,} lines"
        if sys.stdout.isatty():
            self.stdout.write(f"\r{line}", ending="")
            self.stdout.flush()
        elif upload.finished_at is not None:
            self.stdout.write(line)

    def _tell(self, upload: Import, seconds: float) -> list[str]:
        """Say what was done, and return what is not as it should be."""
        if upload.problem:
            return [upload.problem]
        jobs = _jobs_of(upload)
        states = dict(jobs.values_list("state").annotate(Count("pk")).order_by())
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        self.stdout.write(f"\nJobs:    {counts}")
        airports, countries = Airport.objects.count(), Country.objects.exclude(name="").count()
        self.stdout.write(f"Rows:    {upload.stored:,} lines stored, {airports:,} airports in all")
        self.stdout.write(f"Refused: {upload.refused} lines; the first: {_first_refusal(upload)}")
        mails = sorted(Path(settings.MAIL_FOLDER).glob("*.log"))
        retried = [
            (job, job.errors) for job in jobs.filter(attempt__gt=1, state="succeeded") if job.errors
        ]
        for job, errors in retried:
            self.stdout.write(
                f"Retried: {job.task}, attempt {job.attempt}, succeeded. The page that it"
            )
            self.stdout.write("         fetches is busy at the first request, on purpose:")
            self.stdout.write(f"         {errors[0].message}")
        if mails:
            self.stdout.write(f"Mail:    {mails[-1]}")
        self.stdout.write(f"Time:    {seconds:.1f} s")
        self.stdout.write("\nTo look at it: `make serve`, then http://127.0.0.1:8000/admin/")
        self.stdout.write("               (user admin, password admin; development only)")
        self.stdout.write(
            "The private PostgreSQL stays up for the next command; `make clean` stops it."
        )
        checks = {
            "some jobs have not succeeded": set(states) == {"succeeded"},
            "lines are missing": upload.done == upload.total,
            "fewer airports than lines stored": airports >= upload.stored > 0,
            "the countries have no names": countries > 0,
            "no failure was retried": bool(retried),
            "no mail was written": bool(mails),
        }
        return [problem for problem, fine in checks.items() if not fine]


def _jobs_of(upload: Import) -> JobQuerySet:
    """The jobs since the upload, but for those of schedules, which go on."""
    assert upload.job_id is not None
    return Job.objects.filter(pk__gte=upload.job_id, schedule_id=None)


def _multipart(boundary: str, token: str, file: Path) -> bytes:
    field = 'Content-Disposition: form-data; name="{}"'
    head = "\r\n".join(
        (
            f"--{boundary}",
            field.format("csrfmiddlewaretoken"),
            "",
            token,
            f"--{boundary}",
            f'{field.format("file")}; filename="{file.name}"',
            "Content-Type: text/csv",
            "",
            "",
        )
    )
    return head.encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()


def _first_refusal(upload: Import) -> str:
    line = upload.refused_lines.first()
    return "none" if line is None else str(line)


def _server_version() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        version: str = cursor.fetchone()[0]
    return version
