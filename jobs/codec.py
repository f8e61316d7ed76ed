"""A call's arguments and a task's result, to JSON and back with equal types.

What JSON cannot say is tagged `{"$jobs": [type, value]}`. JSON only, never pickle. Model
instances are kept by reference; loading them is the caller's business (`load`).
"""

from __future__ import annotations

import base64
import enum
import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import DEFAULT_DB_ALIAS, router
from django.db.models import Model
from django.utils.functional import Promise

from .errors import NotStorable

TAG = "$jobs"
# PostgreSQL's own stack ends near 6,000 levels; anything past this is a mistake.
MAX_DEPTH = 100
# Beyond, an integer is looked at more closely.
_LARGEST = 1 << 63

# (model label, key, database) → instance; no database: where its router reads.
Loader = Callable[..., Any]


def encode(value: object, where: str) -> Any:
    """What `json.dumps` can write of the value; NotStorable naming the place, else."""
    return _encode(value, where, 0)


def is_plain(value: Any) -> bool:
    """Whether JSON says it as it is: what `encode` would return unchanged, told quickly."""
    kind = type(value)
    if kind is int:
        return bool(-_LARGEST < value < _LARGEST)
    if kind is str:
        return bool(value.isascii() and "\x00" not in value)
    return value is None or kind is bool


# json.dumps() makes a new encoder for each call, which takes as long as writing does.
dumps = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def write(encoded: Any, *, max_bytes: int, what: str) -> str:
    """JSON text of what `encode` made; NotStorable when it is too large."""
    text = dumps(encoded)
    # ASCII only, so characters are bytes.
    if len(text) > max_bytes:
        raise NotStorable(
            f"{what} take {len(text):,} bytes as JSON; the limit is {max_bytes:,}. Store the "
            "data itself (a file, a row) and pass its key, or raise the limit in JOBS."
        )
    return text


def decode(encoded: Any, load: Loader) -> Any:
    """The value behind `encode`; `load(model label, key[, database])` brings model instances."""
    return _decode(encoded, load)


# json.loads() takes thrice as long to look for white space and options around this.
_parse = json.JSONDecoder().raw_decode


def read_call(text: str, load: Loader) -> tuple[list[Any], dict[str, Any]]:
    """The positional and keyword arguments of a job."""
    call, _ = _parse(text)
    args, kwargs = call["args"], call["kwargs"]
    if '"$jobs"' in text:
        args = _decode(args, load)
        kwargs = {name: _decode(item, load) for name, item in kwargs.items()}
    return args, kwargs


def _encode(value: Any, where: str, depth: int) -> Any:
    kind = type(value)
    if kind is bool or value is None:
        return value
    if kind is int:
        return _whole(value, where)
    if kind is str:
        return _text(value, where)
    if kind is float:
        return _number(value, where)
    if depth > MAX_DEPTH:
        raise NotStorable(f"{where} is nested deeper than {MAX_DEPTH} levels")
    if kind is list:
        return [_encode(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    if kind is dict:
        return _mapping(value, where, depth)
    return _tagged(value, kind, where, depth)


def _text(value: str, where: str) -> str:
    if "\x00" in value:
        raise NotStorable(f"{where} contains a NUL character, which PostgreSQL cannot keep")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise NotStorable(
                f"{where} contains half of a surrogate pair at position {error.start}, "
                "which is not text; decode it properly first"
            ) from None
    return value


def _whole(value: int, where: str) -> int:
    # Python itself refuses to write integers of more than 4,300 digits.
    if value.bit_length() > 14_000:
        raise NotStorable(f"{where} is an integer of more than 4,200 digits")
    return value


def _number(value: float, where: str) -> Any:
    if not math.isfinite(value):
        raise NotStorable(f"{where} is {value}, which JSON does not have")
    # jsonb keeps numbers as decimals: 1e16 would come back as an integer.
    return {TAG: ["float", repr(value)]} if abs(value) >= 1e16 else value


def _mapping(value: dict[Any, Any], where: str, depth: int) -> Any:
    if TAG not in value and all(type(key) is str for key in value):
        return {
            _text(key, f"a key of {where}"): _encode(item, f"{where}[{key!r}]", depth + 1)
            for key, item in value.items()
        }
    pairs = [
        [_encode(k, f"key {k!r} of {where}", depth + 1), _encode(v, f"{where}[{k!r}]", depth + 1)]
        for k, v in value.items()
    ]
    return {TAG: ["dict", pairs]}


def _tagged(value: Any, kind: type, where: str, depth: int) -> Any:
    if kind in _PLAIN:
        name, say = _PLAIN[kind]
        return {TAG: [name, say(value)]}
    if kind in (tuple, set, frozenset):
        items = [_encode(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
        return {TAG: [kind.__name__, items]}
    if isinstance(value, enum.Enum):
        return _encode(value.value, where, depth)
    if isinstance(value, Promise):
        return _text(str(value), where)
    if isinstance(value, Model):
        return _reference(value, where, depth)
    # Subclasses of plain types (SafeString, IntEnum's members) become the plain type.
    for plain in (str, int, float):
        if isinstance(value, plain):
            return _encode(plain.__str__(value) if plain is str else plain(value), where, depth)
    for kept in _SUBCLASSED:
        if isinstance(value, kept):
            return _encode(_as_plain(value, kept, where), where, depth)
    raise NotStorable(
        f"{where} is of type {kind.__qualname__}, which cannot be kept. {_cure(value)}"
    )


def _as_plain(value: Any, kept: type, where: str) -> Any:
    """The value as the plain type that its own extends; NotStorable if that would be another
    value: a pandas Timestamp has nanoseconds, a QueryDict several values for a key."""
    try:
        made = _REBUILD[kept](kept, value)
        is_equal = bool(made == value) and (
            kept is not dict or list(made.items()) == [*value.items()]
        )
    except Exception:
        is_equal = False
    if not is_equal:
        raise NotStorable(
            f"{where} is of type {type(value).__qualname__}, and would come back as another "
            f"{kept.__name__}; pass a plain {kept.__name__} with what the task needs"
        )
    return made


def _reference(value: Model, where: str, depth: int) -> Any:
    if value._meta.label == "jobs.Job":
        raise NotStorable(f"{where} is a Job; pass its id instead: job.pk")
    if value._state.adding or value.pk is None:
        raise NotStorable(
            f"{where} is an unsaved {value._meta.object_name}; save it first: a job gets "
            "model instances by their key"
        )
    reference = [value._meta.label_lower, _encode(value.pk, where, depth)]
    # Where it is written, which is not where it was read if that was a replica.
    database = router.db_for_write(type(value), instance=value)
    if database != DEFAULT_DB_ALIAS:
        reference.append(database)
    return {TAG: ["model", reference]}


def _cure(value: object) -> str:
    if hasattr(value, "model") and hasattr(value, "iterator"):
        return "Pass the keys: list(queryset.values_list('pk', flat=True))."
    if isinstance(value, type):
        return "Pass a name that the task can look up, not the class."
    if callable(value):
        return "Pass a name that the task can look up, not the function."
    if hasattr(value, "read"):
        return "Store the file and pass its name."
    return (
        "Jobs keep JSON, dates, times, Decimal, UUID, bytes, tuples, sets and saved model "
        "instances; pass a key or a plain value instead."
    )


def _decode(value: Any, load: Loader) -> Any:
    if isinstance(value, list):
        return [_decode(item, load) for item in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: _decode(item, load) for key, item in value.items()}
    name, kept = value[TAG]
    if name == "model":
        label, key, *database = kept
        return load(label, _decode(key, load), *database)
    if name == "dict":
        return {_decode(k, load): _decode(v, load) for k, v in kept}
    if name in _CONTAINERS:
        return _CONTAINERS[name](_decode(item, load) for item in kept)
    return _READ[name](kept)


def _zone_of(value: datetime | time) -> str | None:
    """The name of its time zone; None: it has none, or one that is a mere offset."""
    zone = value.tzinfo
    return zone.key if isinstance(zone, ZoneInfo) else None


def _say_moment(value: datetime) -> list[Any]:
    zone = _zone_of(value)
    # A named zone is kept beside the wall time: rules may change before the job runs.
    wall = value.replace(tzinfo=None) if zone else value
    return [wall.isoformat(), zone, value.fold]


def _read_moment(kept: list[Any]) -> datetime:
    text, zone, fold = kept
    moment = datetime.fromisoformat(text).replace(fold=fold)
    return moment.replace(tzinfo=ZoneInfo(zone)) if zone else moment


def _say_time(value: time) -> list[Any]:
    zone = _zone_of(value)
    if zone is None:
        if value.tzinfo is not None and value.utcoffset() is None:
            raise NotStorable(
                f"the time {value} has a time zone without a name, {value.tzinfo!r}; give it a "
                "ZoneInfo, or pass a datetime"
            )
        return [value.isoformat(), value.fold]
    return [value.replace(tzinfo=None).isoformat(), value.fold, zone]


def _read_time(kept: list[Any]) -> time:
    text, fold, *zone = kept
    made = time.fromisoformat(text).replace(fold=fold)
    return made.replace(tzinfo=ZoneInfo(zone[0])) if zone else made


def _read_duration(kept: list[int]) -> timedelta:
    days, seconds, microseconds = kept
    return timedelta(days, seconds, microseconds)


_PLAIN: dict[type, tuple[str, Callable[[Any], Any]]] = {
    datetime: ("datetime", _say_moment),
    date: ("date", date.isoformat),
    time: ("time", _say_time),
    timedelta: ("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: ("decimal", str),
    UUID: ("uuid", str),
    bytes: ("bytes", lambda value: base64.b64encode(value).decode()),
}
_CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}
_READ: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "datetime": _read_moment,
    "date": date.fromisoformat,
    "time": _read_time,
    "timedelta": _read_duration,
    "decimal": Decimal,
    "uuid": UUID,
    "bytes": base64.b64decode,
}
# Subclasses of these are kept as the plain type, if they are equal to it. The type is handed in:
# freezegun puts its own in the place of every module's `datetime`, and of nothing in a dict.
_REBUILD: dict[type, Callable[[Any, Any], Any]] = {
    datetime: lambda kind, value: kind(
        value.year, value.month, value.day, value.hour, value.minute, value.second,
        value.microsecond, tzinfo=value.tzinfo, fold=value.fold,
    ),
    date: lambda kind, value: kind(value.year, value.month, value.day),
    time: lambda kind, value: kind(
        value.hour, value.minute, value.second, value.microsecond, tzinfo=value.tzinfo,
        fold=value.fold,
    ),
    timedelta: lambda kind, value: kind(value.days, value.seconds, value.microseconds),
    UUID: lambda kind, value: kind(int=value.int),
    **dict.fromkeys((Decimal, bytes, list, dict), lambda kind, value: kind(value)),
}  # fmt: skip
# A datetime is a date, too: the first that fits.
_SUBCLASSED = tuple(_REBUILD)
