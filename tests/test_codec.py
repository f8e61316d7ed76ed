"""What goes into the database comes out equal, with equal types; what cannot go is named."""

import enum
import json
import math
import socket
from collections import namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import codec
from jobs.errors import NotStorable
from jobs.models import Job
from jobs.models.references import load

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
ZONES = st.sampled_from([UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.binary()
    | st.dates()
    | st.times()
    | st.datetimes()
    | st.datetimes(timezones=ZONES)
    | st.timedeltas()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
)
KEYS = TEXT | st.integers() | st.dates()
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS | st.just("$jobs"), inner)
        | st.frozensets(st.integers() | TEXT)
        | st.sets(st.integers() | TEXT)
    ),
    max_leaves=12,
)


def through_the_database(value: Any) -> Any:
    encoded = codec.encode(value, "value")
    text = codec.write(encoded, max_bytes=10_000_000, what="value")
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [text])
        return codec.decode(json.loads(cursor.fetchone()[0]), load)


def same(a: Any, b: Any) -> bool:
    """Equal, with equal types all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        pairs = zip(sorted(a.items(), key=repr), sorted(b.items(), key=repr), strict=True)
        return all(same(k, m) and same(v, w) for (k, v), (m, w) in pairs)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, datetime):
        return a == b and a.fold == b.fold and str(a.tzinfo) == str(b.tzinfo)
    return bool(a == b)


@pytest.mark.django_db
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=VALUES)
def test_every_value_comes_back_from_postgresql_equal_with_equal_types(value: Any) -> None:
    back = through_the_database(value)

    assert same(back, value)


@pytest.mark.parametrize("number", [1e16, -2.5e300, 5e-324, 0.1, 123456789012345.0])
@pytest.mark.django_db
def test_a_float_stays_a_float_although_jsonb_keeps_decimals(number: float) -> None:
    back = through_the_database(number)

    assert type(back) is float
    assert back == number


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("given", "plain"),
    [(Colour.RED, "red"), (Level.HIGH, 3), (mark_safe("<b>"), "<b>"), (gettext_lazy("yes"), "yes")],
)
def test_enums_safe_strings_and_lazy_texts_become_plain(given: Any, plain: Any) -> None:
    encoded = codec.encode(given, "value")

    assert encoded == plain
    assert type(encoded) is type(plain)


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "value is nan"),
        ([1, {"a": math.inf}], "value[1]['a'] is inf"),
        ("a\x00b", "NUL"),
        ("\ud800", "surrogate"),
        ({"\x00": 1}, "a key of value contains a NUL"),
        (lambda: 1, "is of type function"),
        (socket.socket, "is of type type"),
        (object(), "is of type object"),
        (Point(1, 2), "is of type Point"),
        ([10**5000], "more than 4,200 digits"),
        (User(username="new"), "unsaved User; save it first"),
        (Job(), "pass its id instead: job.pk"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_its_place(value: Any, words: str) -> None:
    with pytest.raises(NotStorable) as refusal:
        codec.encode(value, "value")

    assert words in str(refusal.value)


def test_a_value_within_itself_is_refused_as_too_deep() -> None:
    knot: list[Any] = []
    knot.append(knot)

    with pytest.raises(NotStorable, match="deeper than 100"):
        codec.encode(knot, "value")


def test_what_is_too_large_is_refused_with_its_size() -> None:
    with pytest.raises(NotStorable, match="1,002 bytes as JSON; the limit is 1,000"):
        codec.write("x" * 1000, max_bytes=1000, what="the arguments")


@pytest.mark.django_db
def test_a_model_instance_is_kept_by_its_key_and_read_anew() -> None:
    user = User.objects.create(username="ada")
    encoded = codec.encode([user], "value")
    User.objects.update(username="grace")

    back = codec.decode(encoded, load)

    assert encoded == [{"$jobs": ["model", ["auth.user", user.pk]]}]
    assert back[0].username == "grace"


@pytest.mark.parametrize(
    "value", [date(2026, 1, 2), time(1, 2, 3, 4, fold=1), timedelta(days=-1), Decimal("1.10")]
)
@pytest.mark.django_db
def test_a_tagged_value_keeps_what_its_text_would_lose(value: Any) -> None:
    back = through_the_database(value)

    assert same(back, value)
    assert str(back) == str(value)
