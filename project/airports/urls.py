"""The airports' pages."""

from django.urls import path

from . import views

app_name = "airports"
urlpatterns = [
    path("", views.index, name="index"),
    path("imports/<int:pk>/", views.show_import, name="import"),
    path("imports/<int:pk>.json", views.import_progress, name="import-progress"),
    path("countries.json", views.country_names, name="country-names"),
]
