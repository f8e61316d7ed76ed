"""Rules and the moments they name; the zones' own pages of the tz database are the oracle."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobs.cron import At, Cron, Every, as_rule, at, cron, every, latest_tick
from jobs.errors import InvalidSchedule

BERLIN = ZoneInfo("Europe/Berlin")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ticks(rule: Cron | Every | At, start: str, stop: str, zone: str = "UTC") -> list[str]:
    found, now = [], moment(start)
    while True:
        following = rule.next_after(now, zone)
        if following is None or following > moment(stop):
            return found
        found.append(following.astimezone(UTC).strftime("%m-%d %H:%M"))
        now = following


def test_a_cron_line_is_read_in_its_own_zone() -> None:
    rule = cron("0 3 * * *", timezone="Europe/Berlin")

    assert ticks(rule, "2026-01-01", "2026-01-02T23:00") == ["01-01 02:00", "01-02 02:00"]


def test_without_a_zone_of_its_own_it_is_read_in_the_sites() -> None:
    rule = cron("0 3 * * *")

    assert ticks(rule, "2026-01-01", "2026-01-01T12:00", "Asia/Tokyo") == []
    assert ticks(rule, "2026-01-01", "2026-01-01T19:00", "Asia/Tokyo") == ["01-01 18:00"]


def test_a_wall_time_in_the_gap_ticks_once_at_the_jump() -> None:
    # On 29 March 2026 Berlin's clocks jump from 2:00 to 3:00, at 1:00 UTC.
    rule = cron("30 2 * * *", timezone="Europe/Berlin")

    found = ticks(rule, "2026-03-28T00:00", "2026-03-30T12:00")

    assert found == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_several_wall_times_in_the_gap_tick_once_together() -> None:
    rule = cron("0,15,30 2 * * *", timezone="Europe/Berlin")

    found = ticks(rule, "2026-03-29T00:00", "2026-03-29T12:00")

    assert found == ["03-29 01:00"]


def test_a_wall_time_that_exists_twice_ticks_the_first_time_only() -> None:
    # On 25 October 2026 Berlin has 2:30 twice: at 0:30 and at 1:30 UTC.
    rule = cron("30 2 * * *", timezone="Europe/Berlin")

    found = ticks(rule, "2026-10-24T12:00", "2026-10-26T12:00")

    assert found == ["10-25 00:30", "10-26 01:30"]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_a_line_for_every_hour_goes_on_in_elapsed_time_through_both_changes(day: str) -> None:
    rule = cron("*/20 * * * *", timezone="Europe/Berlin")

    found = ticks(rule, f"{day}T00:00", f"{day}T03:00")

    expected = [f"{day[5:]} {hour:02}:{minute:02}" for hour in (0, 1, 2) for minute in (0, 20, 40)]
    assert found == [*expected[1:], f"{day[5:]} 03:00"]


def test_a_half_hour_zone_and_a_day_that_was_skipped() -> None:
    # Samoa skipped 30 December 2011: after the 29th 23:59 came the 31st 0:00, at 10:00 UTC.
    rule = cron("0 12 * * *", timezone="Pacific/Apia")

    found = ticks(rule, "2011-12-29T00:00", "2011-12-31T23:00")

    assert found == ["12-29 22:00", "12-30 10:00", "12-30 22:00", "12-31 22:00"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
def test_three_oclock_daily_ticks_once_each_day_of_a_year(zone: str) -> None:
    rule = cron("0 3 * * *", timezone=zone)
    now, days = moment("2026-01-01"), []

    while True:
        following = rule.next_after(now, "UTC")
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
    ],
)
def test_a_bad_line_is_refused_with_the_reason(line: str, words: str) -> None:
    with pytest.raises(InvalidSchedule, match=words):
        cron(line)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="Europe/Atlantis"):
        cron("0 3 * * *", timezone="Europe/Atlantis")


def test_an_interval_is_in_phase_with_its_anchor_whenever_it_is_asked() -> None:
    rule = every(minutes=7, anchor=moment("2026-01-01T00:01"))

    assert ticks(rule, "2026-01-01T00:00", "2026-01-01T00:16") == [
        "01-01 00:01",
        "01-01 00:08",
        "01-01 00:15",
    ]
    assert rule.next_after(moment("2026-01-01T00:09"), "UTC") == moment("2026-01-01T00:15")


def test_an_interval_is_elapsed_time_through_a_clock_change() -> None:
    rule = every(hours=12)

    assert len(ticks(rule, "2026-03-28T12:00", "2026-03-30T12:00")) == 4


def test_one_moment_ticks_once() -> None:
    rule = at(moment("2026-05-01T08:00"))

    assert ticks(rule, "2026-01-01", "2027-01-01") == ["05-01 08:00"]


def test_what_a_schedule_may_be_said_as() -> None:
    assert as_rule("@daily") == Cron("@daily")
    assert as_rule(timedelta(minutes=5)) == Every(timedelta(minutes=5))
    assert as_rule(moment("2026-05-01")) == At(moment("2026-05-01"))
    with pytest.raises(InvalidSchedule, match="no schedule"):
        as_rule(5)


def test_the_latest_of_many_missed_ticks_is_found_without_walking_them_all() -> None:
    rule = every(seconds=1)
    first, now = moment("2020-01-01"), moment("2026-01-01T00:00:00.500")

    assert latest_tick(rule, first=first, now=now, default_zone="UTC") == (
        moment("2026-01-01"),
        moment("2026-01-01T00:00:01"),
    )
