"""Lists in a column. Django's own ArrayField wants another app to be installed; jobs wants none."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    _UUIDs = models.Field[list[UUID], list[UUID]]
    _Texts = models.Field[list[str] | None, list[str] | None]
    _Integers = models.Field[list[int], list[int]]
else:
    _UUIDs = _Texts = _Integers = models.Field


class UUIDListField(_UUIDs):
    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "uuid[]"


class TextListField(_Texts):
    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "text[]"


class IntegerListField(_Integers):
    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "integer[]"
