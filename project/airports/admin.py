"""Imports and airports, to look at."""

from django.contrib import admin

from .models import Airport, Country, Import


@admin.register(Import)
class ImportAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("file", "uploaded_at", "total", "stored", "refused", "finished_at")


@admin.register(Airport)
class AirportAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("code", "name", "city", "country")
    search_fields = ("code", "name")


admin.site.register(Country)
