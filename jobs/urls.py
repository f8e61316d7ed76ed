"""`path("jobs/", include("jobs.urls"))`: where pages ask how far a job has come."""

from __future__ import annotations

from django.urls import path

from . import views

app_name = "jobs"
urlpatterns = [path("progress/<str:token>/", views.progress, name="progress")]
