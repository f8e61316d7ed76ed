"""The tutorial's app."""

from django.apps import AppConfig


class AirportsConfig(AppConfig):
    name = "project.airports"
    label = "airports"
    default_auto_field = "django.db.models.BigAutoField"
