"""Columns that Django has no field for: lists, and JSON that any reader survives."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    _UUIDs = models.Field[list[UUID], list[UUID]]
    _Texts = models.Field[list[str] | None, list[str] | None]
    _Integers = models.Field[list[int], list[int]]
    _JSON = models.Field[Any, Any]
else:
    _UUIDs = _Texts = _Integers = models.Field
    _JSON = models.JSONField


class _ListField(models.Field):  # type: ignore[type-arg]
    """A list of one type. Django's own ArrayField needs another app to be installed.

    Serialized as JSON, so that dumpdata and loaddata keep it.
    """

    @staticmethod
    def _item(value: Any) -> Any:
        return value

    def to_python(self, value: Any) -> Any:
        if value is None:
            return None
        try:
            items = json.loads(value) if isinstance(value, str) else value
            return [self._item(item) for item in items]
        except (TypeError, ValueError) as error:
            raise ValidationError(
                _("%(value)r is no list"), code="invalid", params={"value": value}
            ) from error

    def value_to_string(self, obj: models.Model) -> Any:
        value = self.value_from_object(obj)
        # None stays null in a fixture.
        return None if value is None else json.dumps([_plain(item) for item in value])


def _plain(item: Any) -> Any:
    return str(item) if isinstance(item, UUID) else item


class UUIDListField(_ListField, _UUIDs):
    @staticmethod
    def _item(value: Any) -> UUID:
        return value if isinstance(value, UUID) else UUID(value)

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "uuid[]"


class TextListField(_ListField, _Texts):
    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "text[]"


class IntegerListField(_ListField, _Integers):
    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "integer[]"


class Unreadable(str):
    """JSON text that PostgreSQL keeps and Python cannot read, as a number of 5,000 digits."""

    __slots__ = ()


class SafeJSONField(_JSON):
    """JSON of a row that SQL may have written: what Python cannot read is `Unreadable`."""

    def deconstruct(self) -> Any:
        # The column is an ordinary one: migrations need not know.
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        try:
            return super().from_db_value(value, expression, connection)  # type: ignore[misc]
        except (ValueError, RecursionError):
            return Unreadable(value)


class MetadataField(SafeJSONField):
    """A dict; NULL in the database is an empty one."""

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        if value is None:
            return {}
        return super().from_db_value(value, expression, connection)
