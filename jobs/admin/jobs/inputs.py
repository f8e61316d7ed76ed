"""An input for each type that an argument may have. What a field gives is the argument as JSON
keeps it (see jobs.codec), and what nobody has changed stays just as it is kept.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import types
import typing
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Union
from uuid import UUID

from django import forms
from django.apps import apps
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model
from django.utils.timezone import get_current_timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jobs import codec
from jobs.errors import NotStorable
from jobs.models.references import load


class _Nothing:
    """Stands for an argument that is not given."""

    def __repr__(self) -> str:
        return "–"


NOTHING: Any = _Nothing()
# A JSON null that somebody has typed, where an empty field means another thing.
NULL: Any = _Nothing()
# A text with more characters, or more lines, has room for more.
_SHORT = 60
_BY_TYPE: dict[Any, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    Decimal: "decimal",
    datetime: "datetime",
    date: "date",
    time: "time",
    timedelta: "timedelta",
    UUID: "uuid",
    bytes: "bytes",
}


class Hint(NamedTuple):
    """What an annotation says: of which kind, of which model, and whether None may be."""

    kind: str
    model: str = ""
    is_nullable: bool = False


def read_hint(annotation: Any) -> Hint:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return read_hint(typing.get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        others = [one for one in typing.get_args(annotation) if one is not type(None)]
        is_nullable = len(others) < len(typing.get_args(annotation))
        return (read_hint(others[0]) if len(others) == 1 else Hint(""))._replace(
            is_nullable=is_nullable
        )
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return Hint("model", annotation._meta.label)
    return Hint(_BY_TYPE.get(annotation, ""))


def kind_of(kept: Any, hint: Hint) -> Hint:
    """As which kind a kept value is edited; where there is none, the annotation decides."""
    if kept is None or kept is NOTHING:
        return hint if hint.kind else hint._replace(kind="json")
    is_nullable = hint.is_nullable
    if isinstance(kept, dict) and codec.TAG in kept:
        name, said = kept[codec.TAG]
        if name == "model":
            return Hint("model", said[0], is_nullable)
        # What a field could not give back as it is.
        is_odd = (name == "time" and (said[1] or "+" in said[0])) or (
            name in ("float", "decimal") and not math.isfinite(float(said))
        )
        return Hint(name if name in _FIELDS and not is_odd else "json", "", is_nullable)
    if type(kept) is int and hint.kind == "float":
        return Hint("float", "", is_nullable)
    found = _BY_TYPE.get(type(kept), "json")
    return Hint(found if found in ("bool", "int", "float", "str") else "json", "", is_nullable)


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _Text(forms.CharField):
    """A browser sends the lines of a text area with other ends than they had."""

    def __init__(self, kept: Any) -> None:
        kept = kept if isinstance(kept, str) else ""
        is_long = len(kept) > _SHORT or "\n" in _plain(kept)
        widget: Any = forms.Textarea({"rows": 4, "cols": 60}) if is_long else forms.TextInput
        super().__init__(widget=widget, strip=False, required=False)
        self._kept = kept

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        plain = _plain(text)
        return self._kept if plain == _plain(self._kept) else plain


class _Clock(forms.CharField):
    """A time of day, or a moment, in the zone in which it is kept."""

    _read: Callable[[str], Any] = time.fromisoformat
    _type = "time"
    _told = _("No time of day that can be read.")

    def __init__(self, kept: Any, *, required: bool) -> None:
        value = None if kept is NOTHING or kept is None else codec.decode(kept, load)
        # What a browser's own input knows of a second ends with milliseconds.
        is_fine = value is not None and value.microsecond % 1000
        attributes = {} if is_fine else {"type": self._type, "step": "any"}
        super().__init__(widget=forms.TextInput(attributes), required=required)
        self._zone = self._zone_of(value)
        if self._zone is not None:
            self.help_text = str(self._zone)

    def _zone_of(self, value: Any) -> Any:
        return None

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            found = type(self)._read(text)
            if found.tzinfo is not None:
                raise ValueError(text)
            return found.replace(tzinfo=self._zone)
        except ValueError:
            raise forms.ValidationError(self._told) from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        """A browser leaves out seconds that are zero."""
        try:
            return bool(type(self)._read(initial) != type(self)._read(data))
        except (TypeError, ValueError):
            return super().has_changed(initial, data)


class _Moment(_Clock):
    _read = datetime.fromisoformat
    _type = "datetime-local"
    _told = _("No moment that can be read.")

    def _zone_of(self, value: Any) -> Any:
        return get_current_timezone() if value is None else value.tzinfo


class _Bytes(forms.CharField):
    def __init__(self, *, required: bool) -> None:
        # No bytes are bytes, too.
        super().__init__(required=False)
        self._is_nullable = not required

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            if not text and self._is_nullable:
                return None
            return base64.b64decode(text, validate=True)
        except binascii.Error:
            raise forms.ValidationError(_("No base64.")) from None


class _Json(forms.CharField):
    """As it is kept, tags and all."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=forms.Textarea({"rows": 3, "cols": 60}), **kwargs)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            found = codec.decode(json.loads(text), load)
            return NULL if found is None else found
        except Exception as error:
            # A tag may say anything, and a model may be gone.
            raise forms.ValidationError(f"{type(error).__name__}: {error}") from None


class _Key(forms.CharField):
    """The key of a model's row, which must be there."""

    def __init__(self, label: str, **kwargs: Any) -> None:
        super().__init__(help_text=label, **kwargs)
        self._label = label

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        name = self._label
        try:
            model = apps.get_model(self._label)
            name = str(model._meta.verbose_name)
            return model._base_manager.get(pk=text)
        except (ObjectDoesNotExist, LookupError, TypeError, ValueError, forms.ValidationError):
            told = gettext("There is no %(model)s with this key.")
            raise forms.ValidationError(told % {"model": name}) from None


def _yes_or_no(*, required: bool) -> forms.Field:
    choices = [("true", _("yes")), ("false", _("no"))]
    return forms.TypedChoiceField(
        choices=choices if required else [("", "–"), *choices],
        coerce=lambda text: text == "true",
        empty_value=None,
        required=required,
    )


def _date(*, required: bool) -> forms.Field:
    widget = forms.DateInput({"type": "date"}, format="%Y-%m-%d")
    return forms.DateField(widget=widget, input_formats=["%Y-%m-%d"], required=required)


_FIELDS: dict[str, Callable[..., forms.Field]] = {
    "bool": _yes_or_no,
    "int": forms.IntegerField,
    "float": lambda *, required: forms.FloatField(
        required=required, widget=forms.NumberInput({"step": "any"})
    ),
    "decimal": lambda *, required: forms.DecimalField(
        required=required, widget=forms.NumberInput({"step": "any"})
    ),
    "date": _date,
    "time": _Clock,
    "datetime": _Moment,
    "timedelta": forms.DurationField,
    "uuid": forms.UUIDField,
    "bytes": _Bytes,
    "json": _Json,
}


def field(kept: Any, hint: Hint, *, required: bool) -> forms.Field:
    """The field of an argument, with what it shows at first."""
    kind, label, _ = kind_of(kept, hint)
    made: forms.Field
    if kind == "str":
        made = _Text(kept)
    elif kind == "model":
        made = _Key(label, required=required)
    elif kind in ("time", "datetime"):
        made = _FIELDS[kind](kept, required=required)
    else:
        made = _FIELDS[kind](required=required)
    made.initial = _shown(kind, kept)
    return made


def _shown(kind: str, kept: Any) -> Any:
    if kept is NOTHING or kept is None:
        return None
    if kind == "json":
        return json.dumps(kept, ensure_ascii=False)
    if kind == "bool":
        return "true" if kept else "false"
    if kind in ("int", "float", "str") and not isinstance(kept, dict):
        return kept
    said = kept[codec.TAG][1]
    if kind == "model":
        return str(codec.decode(said[1], load))
    value = codec.decode(kept, load)
    if kind in ("time", "datetime"):
        is_coarse = value.microsecond and not value.microsecond % 1000
        spec = "milliseconds" if is_coarse else "auto"
        return value.replace(tzinfo=None).isoformat(timespec=spec)
    return said if kind == "bytes" else value


def encoded(value: Any, name: str) -> Any:
    """What a field gave, as JSON keeps it."""
    try:
        return codec.encode(value, name)
    except NotStorable as error:
        raise forms.ValidationError(str(error)) from None
