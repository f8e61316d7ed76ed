"""`{% load jobs %}`: tags for the site's own templates."""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse

register = template.Library()


@register.inclusion_tag("jobs/progress.html")
def job_progress(job: Any) -> dict[str, Any]:
    """How far the job has come. Where the site includes `jobs.urls`, it goes on by itself until the
    job has ended, for whoever was shown the page."""
    # Deferred: Django imports these modules for its checks, before models are ready.
    from jobs.views import token_of

    try:
        url = "" if job.is_finished else reverse("jobs:progress", args=[token_of(job.pk)])
    except NoReverseMatch:
        url = ""
    return {"job": job, "progress": job.progress, "url": url}
