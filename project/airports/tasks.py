"""The site's background work: one import is a handful of jobs, each of which may be killed at
any moment without losing or doubling a row."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from datetime import timedelta

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection
from django.db.models import F
from django.utils import timezone

from jobs import enqueue, enqueue_many, task

from . import lines
from .models import Airport, Country, Import, RefusedLine

CHUNK = 250


class TransientFault(Exception):
    """What may work the next time: a server that is busy or away."""


@task(atomic=True)
def begin_import(import_id: int) -> int:
    """Look at the file, and fan out: a job for each chunk of lines.

    Atomic: the chunks are enqueued with this job's own finish, so never twice.
    """
    upload = Import.objects.select_for_update().get(pk=import_id)
    with upload.file.open("rb") as raw:
        text = raw.read()
    try:
        file = text.decode("utf-8-sig").splitlines(keepends=True)
    except UnicodeDecodeError:
        return _refuse(upload, "the file is not UTF-8 text")
    missing = lines.missing_columns(iter(file))
    if missing:
        return _refuse(upload, f"the file has no column {', '.join(missing)}")
    upload.total = lines.count(iter(file))
    upload.save()
    if not upload.total:
        return _refuse(upload, "the file has no lines")
    starts = range(0, upload.total, CHUNK)
    enqueue_many(import_chunk, [(import_id, start, start + CHUNK) for start in starts])
    return upload.total


@task(atomic=True, max_attempts=3)
def import_chunk(import_id: int, start: int, stop: int) -> int:
    """Store the lines, and note those that cannot be stored. The last chunk goes on.

    Atomic: rows, counts, and the fact that this job is done commit together.
    """
    upload = Import.objects.get(pk=import_id)
    airports: dict[str, Airport] = {}
    refused: list[RefusedLine] = []
    with upload.file.open("rb") as raw:
        file = raw.read().decode("utf-8-sig").splitlines(keepends=True)
    for number, row in lines.between(iter(file), start, stop):
        try:
            airport = lines.parse(row)
        except (lines.LineRefused, KeyError, TypeError, AttributeError) as reason:
            refused.append(RefusedLine(of=upload, number=number, reason=str(reason)))
        else:
            if airport.code in airports:
                reason_ = f"{airport.code} stands twice in the file"
                refused.append(RefusedLine(of=upload, number=number, reason=reason_))
            airports.setdefault(airport.code, airport)
    # In one order everywhere, so that two chunks never wait for each other.
    Airport.objects.bulk_create(
        sorted(airports.values(), key=lambda airport: airport.code),
        update_conflicts=True,
        unique_fields=["code"],
        update_fields=[field.name for field in Airport._meta.fields if not field.primary_key],
    )
    RefusedLine.objects.bulk_create(refused)
    Import.objects.filter(pk=import_id).update(
        stored=F("stored") + len(airports), refused=F("refused") + len(refused)
    )
    upload.refresh_from_db()
    if upload.done == upload.total:
        enqueue(fetch_country_names, import_id)
        enqueue(count_by_country)
    return len(airports)


@task(retry_on=[TransientFault], backoff=timedelta(seconds=1))
async def fetch_country_names(import_id: int) -> int:
    """Fetch the countries' names from a page of this site, which is busy at the first try."""
    url = f"{settings.SITE_URL}/countries.json?import={import_id}"
    try:
        names = await asyncio.to_thread(_get_json, url)
    except urllib.error.HTTPError as error:
        if error.code == 503:
            raise TransientFault(f"{url} answered {error.code} {error.reason}") from None
        raise
    except urllib.error.URLError as error:
        raise TransientFault(f"{url} cannot be reached: {error.reason}") from None
    countries = [Country(code=code, name=name) for code, name in sorted(names.items())]
    await Country.objects.abulk_create(
        countries, update_conflicts=True, unique_fields=["code"], update_fields=["name"]
    )
    await send_summary.aenqueue(import_id)
    return len(countries)


@task(max_attempts=5)
def send_summary(import_id: int) -> None:
    """Tell by mail how it went."""
    upload = Import.objects.get(pk=import_id)
    refused = "\n".join(str(line) for line in upload.refused_lines.all()[:50])
    send_mail(
        subject=f"{upload.stored} airports imported",
        message=f"{upload.stored} of {upload.total} lines are stored.\n\nRefused:\n{refused}\n",
        from_email=None,
        recipient_list=["editor@example.com"],
    )
    Import.objects.filter(pk=import_id).update(finished_at=timezone.now())


@task
def count_by_country() -> int:
    """Refresh a statistic: one statement, each minute and after each import."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO airports_country (code, name, airports, counted_at)
            SELECT country, '', count(*), statement_timestamp()
            FROM airports_airport GROUP BY country ORDER BY country
            ON CONFLICT (code) DO UPDATE
            SET airports = excluded.airports, counted_at = excluded.counted_at
            """
        )
        return int(cursor.rowcount)


def _refuse(upload: Import, problem: str) -> int:
    upload.total, upload.problem, upload.finished_at = 0, problem, timezone.now()
    upload.save()
    return 0


def _get_json(url: str) -> dict[str, str]:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  (our own site)
        found: dict[str, str] = json.load(answer)
    return found
