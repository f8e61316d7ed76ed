"""What the pages share: they show, they do not edit, and they do not count a million rows."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from jobs import conf

from .zones import in_viewers_zone


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts so far and no further: nobody pages to the ten thousandth row."""

    most = 10_000

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if isinstance(rows, QuerySet):
            return rows.order_by()[: self.most].count()
        return len(rows)


def moment(name: str, description: Any) -> Any:
    """A method that shows a moment."""

    @admin.display(description=description, ordering=name)
    def shown(self: Any, row: Any) -> SafeString | str:
        value: datetime | None = getattr(row, name)
        return "–" if value is None else to_the_second(value)

    return shown


def to_the_second(value: datetime) -> SafeString:
    """Django's own format stops at the minute, and tells no zone."""
    local = localtime(value)
    return format_html(
        '<span class="jobs-nowrap" title="{}">{}</span>',
        local.isoformat(timespec="milliseconds"),
        f"{local:%Y-%m-%d %H:%M:%S %Z}",
    )


# Columns, and what they lead to, that are for who may see payloads.
HIDDEN = {"arguments", "result", "metadata", "progress_message", "history"}


# Lookups that anybody can write into an address: patterns, which may not be any, and years, which
# may not be in the calendar.
_UNREADABLE = {"regex", "iregex"}
_YEARS = {"year", "iso_year"}


class ShowingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Reads the jobs' database, whatever the routers say; nothing is added or changed here."""

    paginator = CappedPaginator
    show_full_result_count = False
    # A count for each choice of each filter would read the whole table so many times.
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse columns that not every user may see, since an address would reveal them letter by
        letter, and lookups that PostgreSQL or Python would answer with an error."""
        if lookup.partition("__")[0] in HIDDEN or "\0" in value:
            return False
        kinds = lookup.split("__")[1:]
        if not _UNREADABLE.isdisjoint(kinds):
            return False
        if not _YEARS.isdisjoint(kinds) and not re.fullmatch(r"[1-9]\d{0,3}", value):
            return False
        return super().lookup_allowed(lookup, value, request)

    def get_object(self, request: HttpRequest, object_id: str, *args: Any) -> Any:
        # PostgreSQL has no such text.
        return None if "\0" in object_id else super().get_object(request, object_id, *args)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).using(conf.settings().database)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @in_viewers_zone
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        return super().changelist_view(request, extra_context)

    class Media:
        css = {"all": ["jobs/admin.css"]}
        js = ["jobs/zone.js"]
