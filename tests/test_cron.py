"""Rules and the moments they name; the zones' own pages of the tz database are the oracle."""

import shutil
import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_type_hints
from zoneinfo import ZoneInfo

import pytest
from django.utils.translation import override

from jobs.admin.schedules.form import ScheduleForm
from jobs.cron import (
    OPTIONS,
    At,
    Cron,
    Every,
    Plan,
    Policy,
    Rule,
    Zones,
    as_plan,
    at,
    cron,
    due,
    every,
    first_after,
    in_words,
    solar,
)
from jobs.cron.plan import Options as plan_options
from jobs.cron.zones import _folders
from jobs.errors import InvalidSchedule
from jobs.models import Schedule
from jobs.models.schedule import OPTIONS as columns
from jobs.tasks.options import USING

BERLIN = ZoneInfo("Europe/Berlin")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ticks(plan: Plan, start: str, stop: str, zone: str = "UTC") -> list[str]:
    found, now = [], moment(start)
    while True:
        following = plan.rule.next_after(now, zone)
        if following is None or following > moment(stop):
            return found
        found.append(following.astimezone(UTC).strftime("%m-%d %H:%M"))
        now = following


def test_a_cron_line_is_read_in_its_own_zone() -> None:
    plan = cron("0 3 * * *", timezone="Europe/Berlin")

    assert ticks(plan, "2026-01-01", "2026-01-02T23:00") == ["01-01 02:00", "01-02 02:00"]


def test_without_a_zone_of_its_own_it_is_read_in_the_sites() -> None:
    plan = cron("0 3 * * *")

    assert ticks(plan, "2026-01-01", "2026-01-01T12:00", "Asia/Tokyo") == []
    assert ticks(plan, "2026-01-01", "2026-01-01T19:00", "Asia/Tokyo") == ["01-01 18:00"]


def test_a_wall_time_in_the_gap_ticks_once_at_the_jump() -> None:
    # On 29 March 2026 Berlin's clocks jump from 2:00 to 3:00, at 1:00 UTC.
    plan = cron("30 2 * * *", timezone="Europe/Berlin")

    found = ticks(plan, "2026-03-28T00:00", "2026-03-30T12:00")

    assert found == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_several_wall_times_in_the_gap_tick_once_together() -> None:
    plan = cron("0,15,30 2 * * *", timezone="Europe/Berlin")

    found = ticks(plan, "2026-03-29T00:00", "2026-03-29T12:00")

    assert found == ["03-29 01:00"]


def test_a_wall_time_that_exists_twice_ticks_the_first_time_only() -> None:
    # On 25 October 2026 Berlin has 2:30 twice: at 0:30 and at 1:30 UTC.
    plan = cron("30 2 * * *", timezone="Europe/Berlin")

    found = ticks(plan, "2026-10-24T12:00", "2026-10-26T12:00")

    assert found == ["10-25 00:30", "10-26 01:30"]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_a_line_for_every_hour_goes_on_in_elapsed_time_through_both_changes(day: str) -> None:
    plan = cron("*/20 * * * *", timezone="Europe/Berlin")

    found = ticks(plan, f"{day}T00:00", f"{day}T03:00")

    expected = [f"{day[5:]} {hour:02}:{minute:02}" for hour in (0, 1, 2) for minute in (0, 20, 40)]
    assert found == [*expected[1:], f"{day[5:]} 03:00"]


def test_a_half_hour_zone_and_a_day_that_was_skipped() -> None:
    # Samoa skipped 30 December 2011: after the 29th 23:59 came the 31st 0:00, at 10:00 UTC.
    plan = cron("0 12 * * *", timezone="Pacific/Apia")

    found = ticks(plan, "2011-12-29T00:00", "2011-12-31T23:00")

    assert found == ["12-29 22:00", "12-30 10:00", "12-30 22:00", "12-31 22:00"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
def test_three_oclock_daily_ticks_once_each_day_of_a_year(zone: str) -> None:
    plan = cron("0 3 * * *", timezone=zone)
    now, days = moment("2026-01-01"), []

    while True:
        following = plan.rule.next_after(now, "UTC")
        assert following is not None
        if following >= moment("2027-01-01"):
            break
        days.append(following.astimezone(ZoneInfo(zone)).date())
        now = following

    assert len(days) == len(set(days)) == 365


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x", "has 1 fields"),
        ("61 * * * *", "cannot be read"),
        ("0 0 30 2 *", "names no date"),
        ("R * * * *", "random"),
        ("H 3 * * *", "hashed"),
        ("*/90 * * * *", "step 90"),
        (f"{','.join(['1'] * 200)} * * * *", "characters"),
    ],
)
def test_a_bad_line_is_refused_with_the_reason(line: str, words: str) -> None:
    with pytest.raises(InvalidSchedule, match=words):
        cron(line)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="Europe/Atlantis"):
        cron("0 3 * * *", timezone="Europe/Atlantis")


def test_an_interval_is_in_phase_with_its_anchor_whenever_it_is_asked() -> None:
    plan = every(minutes=7, anchor=moment("2026-01-01T00:01"))

    assert ticks(plan, "2026-01-01T00:00", "2026-01-01T00:16") == [
        "01-01 00:01",
        "01-01 00:08",
        "01-01 00:15",
    ]
    assert plan.rule.next_after(moment("2026-01-01T00:09"), "UTC") == moment("2026-01-01T00:15")


def test_an_interval_is_elapsed_time_through_a_clock_change() -> None:
    plan = every(hours=12)

    assert len(ticks(plan, "2026-03-28T12:00", "2026-03-30T12:00")) == 4


def test_an_interval_is_elapsed_time_whatever_zone_its_anchor_is_told_in() -> None:
    plan = every(days=1, anchor=datetime(2026, 1, 1, tzinfo=BERLIN))

    found = plan.rule.next_after(datetime(2026, 7, 1, 12, tzinfo=BERLIN), "UTC")

    assert found == moment("2026-07-01T23:00")


def test_one_moment_ticks_once() -> None:
    plan = at(moment("2026-05-01T08:00"))

    assert ticks(plan, "2026-01-01", "2027-01-01") == ["05-01 08:00"]


def test_what_a_schedule_may_be_said_as() -> None:
    assert as_plan("@daily").rule == Cron("@daily")
    assert as_plan(timedelta(minutes=5)).rule == Every(timedelta(minutes=5))
    assert as_plan(moment("2026-05-01")).rule == At(moment("2026-05-01"))
    assert as_plan(Cron("@daily"), overlap="skip") == cron("@daily", overlap="skip")
    assert as_plan(cron("@daily"), max_runs=3).max_runs == 3
    with pytest.raises(InvalidSchedule, match="no schedule"):
        as_plan(5)
    assert as_plan("@daily", timezone="Asia/Tokyo").rule == Cron("@daily", "Asia/Tokyo")


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (lambda: as_plan("@daily", overlaps="skip"), "no option 'overlaps'; did you mean overlap"),
        (lambda: cron("@daily", queue="mail"), "did you mean queue_name"),  # type: ignore[call-arg]
        (lambda: every(minute=5), "no option 'minute'; did you mean minutes"),  # type: ignore[call-arg]
        (lambda: as_plan(timedelta(hours=1), timezone="UTC"), "say it in cron"),
        (lambda: at("2030-01-01"), "is a datetime"),  # type: ignore[arg-type]
        (lambda: at(datetime.max.replace(tzinfo=UTC)), "in the years"),
        (lambda: every(hours=10**7), "longer than a century"),
        (lambda: cron(5), "is a text"),  # type: ignore[arg-type]
    ],
)
def test_what_people_write_first_is_refused_with_what_they_meant(say: Any, words: str) -> None:
    with pytest.raises(InvalidSchedule, match=words):
        say()


@pytest.mark.parametrize(
    "options",
    [
        {"overlap": "replace"},
        {"catch_up": "some"},
        {"catch_up_limit": 0},
        {"grace": timedelta(0)},
        {"jitter": 5},
        {"max_runs": 0},
        {"starts_at": datetime(2026, 1, 1)},
        {"kwargs": {1: 2}},
        {"tick_argument": "two words"},
        {"tick_argument": "day", "kwargs": {"day": 1}},
        {"starts_at": moment("2026-02-01"), "ends_at": moment("2026-01-01")},
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_its_name(options: dict[str, object]) -> None:
    name = "ends_at" if len(options) == 2 and "ends_at" in options else next(iter(options))
    with pytest.raises(InvalidSchedule, match=name):
        as_plan("@daily", **options)


def test_what_may_be_said_of_a_schedule_stands_once_in_each_room() -> None:
    """The floors keep one list from serving all of them."""
    assert set(get_type_hints(plan_options)) == OPTIONS
    assert set(columns) == USING
    assert OPTIONS - {"args", "kwargs"} <= {field.name for field in Schedule._meta.fields}
    assert {*ScheduleForm.base_fields} >= OPTIONS


# The everyday ones, over a year.

YEAR = (moment("2026-01-01"), moment("2027-01-01"))
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")


def walls(plan: Plan, zone: str) -> list[datetime]:
    """The wall times of its ticks in 2026, in a zone."""
    found, now = [], datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)) - timedelta(seconds=1)
    while True:
        following = plan.rule.next_after(now, "UTC")
        assert following is not None
        wall = following.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        if wall.year > 2026:
            return found
        found.append(wall)
        now = following


@pytest.mark.parametrize("zone", ZONES)
def test_three_oclock_daily(zone: str) -> None:
    first = datetime(2026, 1, 1, 3)

    found = walls(cron("0 3 * * *", timezone=zone), zone)

    assert found == [first + timedelta(days=day) for day in range(365)]


@pytest.mark.parametrize("zone", ZONES)
def test_nine_oclock_on_the_first_of_the_month(zone: str) -> None:
    found = walls(cron("0 9 1 * *", timezone=zone), zone)

    assert found == [datetime(2026, month, 1, 9) for month in range(1, 13)]


@pytest.mark.parametrize("zone", ZONES)
def test_sundays_at_eleven_in_the_evening(zone: str) -> None:
    first = datetime(2026, 1, 4, 23)

    found = walls(cron("0 23 * * 0", timezone=zone), zone)

    assert found == [first + timedelta(weeks=week) for week in range(52)]


def test_the_last_day_of_the_month_leap_days_and_the_second_friday() -> None:
    last = walls(cron("0 0 L * *"), "UTC")
    assert [wall.day for wall in last] == [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    leap = cron("0 0 29 2 *").rule.next_after(moment("2026-01-01"), "UTC")
    assert leap == moment("2028-02-29")
    fridays = walls(cron("0 0 * * 5#2"), "UTC")
    assert [wall.day for wall in fridays][:3] == [9, 13, 13]


def test_seconds_stand_last() -> None:
    found = walls(cron("59 23 31 12 * */20"), "UTC")

    assert [wall.second for wall in found] == [0, 20, 40]


def test_where_both_days_are_restricted_either_is_enough_unless_both_have_to_fit() -> None:
    either = walls(cron("0 0 13 * 5"), "UTC")
    both = walls(cron("0 0 13 * 5", days="both"), "UTC")

    assert {wall.day == 13 or wall.weekday() == 4 for wall in either} == {True}
    assert len(either) == 12 + 52 - 3
    assert [(wall.month, wall.day) for wall in both] == [(2, 13), (3, 13), (11, 13)]
    with pytest.raises(InvalidSchedule, match="days"):
        cron("0 0 13 * 5", days="any")  # type: ignore[arg-type]


# What is due.

HOUR = timedelta(hours=1)


def told(policy: Policy, rule: Rule, first: str, now: str) -> tuple[list[str], list[str]]:
    """(to fire, late), as times of the day."""
    found = due(rule, policy, first=moment(first), now=moment(now), default_zone="UTC")
    return (
        [f"{tick:%H:%M:%S}" for tick in found.fire],
        [f"{tick:%H:%M:%S}" for tick in found.late],
    )


def test_of_missed_ticks_the_latest_is_fired_or_none_or_all_of_them() -> None:
    hourly = Every(HOUR)
    span = ("2026-01-01T01:00", "2026-01-01T05:30")

    assert told(Policy(), hourly, *span) == (["05:00:00"], [])
    assert told(Policy("none"), hourly, *span) == ([], ["05:00:00"])
    every_one = [f"0{hour}:00:00" for hour in range(1, 6)]
    assert told(Policy("all"), hourly, *span) == (every_one, [])
    assert told(Policy("all", 2), hourly, *span) == (["04:00:00", "05:00:00"], [])


def test_a_grace_is_how_late_a_tick_may_be() -> None:
    hourly = Every(HOUR)
    span = ("2026-01-01T01:00", "2026-01-01T05:30")

    assert told(Policy(grace=HOUR), hourly, *span) == (["05:00:00"], [])
    assert told(Policy(grace=HOUR / 4), hourly, *span) == ([], ["05:00:00"])
    assert told(Policy("none", grace=HOUR), hourly, *span) == (["05:00:00"], [])
    fire, late = told(Policy("all", grace=2 * HOUR), hourly, *span)
    assert (fire, late) == (["04:00:00", "05:00:00"], ["01:00:00", "02:00:00", "03:00:00"])


def test_a_schedule_ticks_between_its_start_and_its_end_both_included() -> None:
    policy = Policy(starts_at=moment("2026-01-01T03:00"), ends_at=moment("2026-01-01T05:00"))
    hourly = Every(HOUR)

    assert first_after(hourly, policy, moment("2026-01-01"), "UTC") == policy.starts_at
    found = due(
        hourly,
        policy,
        first=moment("2026-01-01T04:00"),
        now=moment("2026-01-01T09:00"),
        default_zone="UTC",
    )
    assert (found.fire, found.following) == ((policy.ends_at,), None)
    assert first_after(hourly, policy, moment("2026-01-01T05:00"), "UTC") is None


def test_the_newest_of_many_missed_ticks_are_found_without_walking_them_all() -> None:
    each_second = Every(timedelta(seconds=1))
    span = {"first": moment("2020-01-01"), "now": moment("2026-01-01T00:00:00.500")}

    found = due(each_second, Policy("all", 3), **span, default_zone="UTC")

    assert found.fire == tuple(
        moment("2026-01-01") - timedelta(seconds=seconds) for seconds in (2, 1, 0)
    )
    assert found.following == moment("2026-01-01T00:00:01")
    yearly = due(Cron("@yearly"), Policy("all", 9), **span, default_zone="UTC")
    assert [tick.year for tick in yearly.fire] == list(range(2020, 2027))


# The sun. The moments are those of an almanac, to the minute.


@pytest.mark.parametrize(
    ("event", "place", "day", "expected"),
    [
        ("sunrise", (52.52, 13.405), "2026-06-21", "02:43"),
        ("sunset", (52.52, 13.405), "2026-06-21", "19:33"),
        ("solar_noon", (52.52, 13.405), "2026-06-21", "11:08"),
        ("dawn_civil", (52.52, 13.405), "2026-06-21", "01:53"),
        ("sunrise", (-33.87, 151.21), "2026-06-20", "21:00"),
    ],
)
def test_the_sun_is_where_the_almanac_says(
    event: str, place: tuple[float, float], day: str, expected: str
) -> None:
    plan = solar(event, latitude=place[0], longitude=place[1])

    found = plan.rule.next_after(moment(day), "UTC")

    assert found is not None
    assert abs(found - moment(f"{day}T{expected}")) < timedelta(minutes=2)


def test_each_sunrise_ticks_once_however_it_is_asked_for() -> None:
    plan = solar("sunrise", latitude=52.52, longitude=13.405)
    now, days = moment("2026-01-01"), []
    while now < moment("2027-01-01"):
        following = plan.rule.next_after(now, "UTC")
        assert following is not None
        days.append(following.date())
        now = following

    assert len(days) == len(set(days)) == 366


def test_where_the_sun_never_sets_the_next_sunset_is_weeks_away() -> None:
    plan = solar("sunset", latitude=69.65, longitude=18.95)

    found = plan.rule.next_after(moment("2026-05-25"), "UTC")

    assert found is not None
    assert (found.month, found.day) == (7, 25)


def test_a_sun_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="sunrise"):
        solar("moonrise", latitude=0, longitude=0)
    with pytest.raises(InvalidSchedule, match="latitude"):
        solar("sunrise", latitude=91, longitude=0)


# Words.


@pytest.mark.parametrize(
    ("plan", "english", "german"),
    [
        (cron("0 3 * * *", timezone="Europe/Berlin"), "At 03:00 (Europe/Berlin)", "Um 03:00"),
        (cron("0 23 * * 0"), "At 23:00, only on Sunday", "Um 23:00, nur am Sonntag"),
        (cron("@weekly"), "At 00:00, only on Sunday", "Um 00:00, nur am Sonntag"),
        (
            cron("0 0 13 * 5", days="both"),
            "At 00:00, on day 13 of the month, and only on Friday",
            "am 13",
        ),
        (cron("* * * * * */10"), "Every 10 seconds", "Alle 10 Sekunden"),
        (every(hours=1, minutes=30), "Every 1 hour, 30 minutes", "1 Stunde, 30 Minuten"),
        (every(seconds=1), "Every 1 second", ""),
        (
            solar("sunrise", latitude=52.5, longitude=13.4),
            "At each sunrise (52.5, 13.4)",
            "Bei jedem Sonnenaufgang",
        ),
        (at(moment("2026-05-01T08:00")), "Once: May 1, 2026, 8 a.m.", "1. Mai 2026 08:00"),
    ],
)
def test_rules_in_words(plan: Plan, english: str, german: str) -> None:
    def plain(text: str) -> str:
        return text.replace("\N{NO-BREAK SPACE}", " ")

    assert plain(in_words(plan.rule)) == english
    with override("de"):
        assert german in plain(in_words(plan.rule))


# The tz database.


def test_a_tz_database_that_is_replaced_is_read_anew(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """As when a country gives up summer time while a beat runs."""
    there = [folder for folder in _folders() if (folder / "Europe/Berlin").exists()]

    def put(name: str) -> None:
        shutil.copy(there[0] / name, tmp_path / "new")
        (tmp_path / "new").rename(tmp_path / "Nowhere")

    request.addfinalizer(zoneinfo.reset_tzpath)
    zoneinfo.reset_tzpath([str(tmp_path)])
    put("Europe/Berlin")
    zones, summer = Zones(), moment("2026-07-01")
    rule = cron("0 3 * * *", timezone="Nowhere").rule
    assert not zones.have_changed({"Nowhere"})
    assert not zones.have_changed({"Nowhere"})
    assert rule.next_after(summer, "UTC") == moment("2026-07-01T01:00")

    put("Africa/Lagos")

    assert zones.have_changed({"Nowhere"})
    assert rule.next_after(summer, "UTC") == moment("2026-07-01T02:00")
    assert not zones.have_changed({"Nowhere"})


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("0 9-9 * * *", "0 9 * * *"),
        ("0 9-9/2 * * *", "0 9 * * *"),
        ("5-5 * * * *", "5 * * * *"),
        ("0 0 1-1 * *", "0 0 1 * *"),
        ("0 0 * 3-3 *", "0 0 * 3 *"),
        ("0 0 * mar-3 *", "0 0 * 3 *"),
        ("0 0 * * mon-mon", "0 0 * * 1"),
        ("0 0 * * MON-1", "0 0 * * 1"),
        ("0 0 * * 7-7", "0 0 * * 0"),
        ("0 0 * * 7-0", "0 0 * * 0"),
        ("1-1,3 * * * *", "1,3 * * * *"),
        ("0 9-10,12-12 * * *", "0 9,10,12 * * *"),
        ("0 0 * * * 7-7", "0 0 * * * 7"),
        ("0 0 * * 0-7", "0 0 * * *"),
    ],
)
def test_a_range_of_one_value_is_that_value(line: str, same: str) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(20):
        tick = Cron(line).next_after(moment, "UTC")
        assert tick == Cron(same).next_after(moment, "UTC")
        assert tick is not None
        moment = tick
