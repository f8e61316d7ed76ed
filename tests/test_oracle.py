"""Clock changes beside an oracle that looks at every minute: some here, all by `make zones`."""

import random
from zoneinfo import available_timezones

import pytest

from tests.oracle import LINES, changes
from tests.oracle.compare import differences

# Jumps by half an hour, by two, by a whole day; Ramadan; zones that moved; and some drawn anew.
ODD = (
    "Africa/Casablanca",
    "America/Caracas",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
)


@pytest.mark.parametrize("name", ODD)
def test_odd_zones_tick_as_documented(name: str) -> None:
    found = list(changes(name))

    picked = found[:2] + found[len(found) // 2 :][:2]

    assert [one for at in picked for line in LINES for one in differences(line, name, at)] == []


def test_any_zone_ticks_as_documented() -> None:
    names = sorted(available_timezones() - {"localtime"})
    seed = random.randrange(1_000_000)
    draw = random.Random(seed)
    wrong = []
    for name in draw.sample(names, 25):
        found = list(changes(name))
        for at in draw.sample(found, min(2, len(found))):
            wrong += [one for line in LINES for one in differences(line, name, at)]

    assert wrong == [], f"seed {seed}"
