"""The example site: its pages, and what its tasks do with good, odd and bad files."""

import json
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings

from jobs import Job
from project.airports import lines, tasks
from project.airports.models import Airport, Country, Import
from project.airports.views import DATA
from tests.workers import ROOT

HEADER = "iata,name,city,country,elevation,lat,lon,tz\n"
GOOD = "BER,Brandenburg,Berlin,DE,157,52.351389,13.493889,Europe/Berlin\n"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> object:
    with override_settings(MEDIA_ROOT=str(tmp_path)):
        yield


def upload(text: str | bytes, name: str = "a.csv") -> Import:
    content = text.encode() if isinstance(text, str) else text
    answer = Client().post("/", {"file": SimpleUploadedFile(name, content)})
    assert answer.status_code == 302, answer.content.decode()
    return Import.objects.get()


def run(row: Import) -> None:
    """Its jobs, called one after the other; the worker itself is tested elsewhere."""
    tasks.begin_import(row.pk)
    for job in Job.objects.filter(task="project.airports.tasks.import_chunk").order_by("id"):
        tasks.import_chunk(*job.args)
    row.refresh_from_db()


@pytest.mark.django_db
def test_an_upload_and_its_job_commit_together() -> None:
    row = upload(HEADER + GOOD)

    job = Job.objects.get()
    assert (row.job_id, job.args) == (job.pk, [row.pk])
    assert job.task == "project.airports.tasks.begin_import"


@pytest.mark.django_db
def test_good_lines_are_stored_and_bad_ones_are_told() -> None:
    bad = [
        "X,Too short,,DE,1,52.00,13.00,UTC\n",
        "AAA,Nowhere,,Germany,1,52.00,13.00,UTC\n",
        "BBB,No zone,,DE,1,52.00,13.00,Mars/Olympus\n",
        "CCC,Too far,,DE,1,152.00,13.00,UTC\n",
        "DDD,Vague,,DE,1,52.1,13.00,UTC\n",
        "EEE,Too short a line\n",
    ]
    row = upload(HEADER + GOOD + "".join(bad))

    run(row)

    assert (row.total, row.stored, row.refused) == (7, 1, 6)
    assert Airport.objects.get().name == "Brandenburg"
    assert [line.number for line in row.refused_lines.all()] == [3, 4, 5, 6, 7, 8]
    page = Client().get(f"/imports/{row.pk}/").content.decode()
    assert "Mars/Olympus" in page


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"\xff\xfe\x00", "not UTF-8"),
        ("iata,name\nBER,x\n", "no column city"),
        (HEADER, "no lines"),
        ("", "no column iata"),
    ],
)
def test_a_file_that_is_none_of_ours_is_told_not_died_of(text: str | bytes, problem: str) -> None:
    # An empty upload is refused by the form itself.
    row = upload(text or "\n")

    run(row)

    assert problem in row.problem
    assert row.finished_at is not None
    assert problem in Client().get(f"/imports/{row.pk}/").content.decode()


@pytest.mark.django_db
def test_only_csv_files_are_taken() -> None:
    answer = Client().post("/", {"file": SimpleUploadedFile("a.exe", b"x")})

    assert answer.status_code == 200
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_the_last_chunk_alone_goes_on() -> None:
    row = upload(HEADER + GOOD * 600)

    run(row)

    assert (row.total, row.done) == (600, 600)
    assert Job.objects.filter(task="project.airports.tasks.import_chunk").count() == 3
    assert Job.objects.filter(task="project.airports.tasks.fetch_country_names").count() == 1


@pytest.mark.django_db
def test_the_page_of_names_is_busy_the_first_time() -> None:
    client = Client()

    assert client.get("/countries.json?import=test-1").status_code == 503
    names = json.loads(client.get("/countries.json?import=test-1").content)
    assert names["DE"] == "Germany"


@pytest.mark.django_db
def test_the_statistic_counts_and_the_pages_show_it() -> None:
    run(upload(HEADER + GOOD))

    assert tasks.count_by_country() == 1
    assert Country.objects.get().airports == 1
    assert "DE" in Client().get("/").content.decode()
    assert Client().get("/imports/999/").status_code == 404


def test_the_shipped_file_is_what_its_page_says() -> None:
    with (DATA / "airports.csv").open(encoding="utf-8", newline="") as file:
        assert lines.count(file) == 7_884
    told = (ROOT / "project/airports/data/README.md").read_text()
    assert "7,884 airports" in told
    assert "MIT licence" in told
