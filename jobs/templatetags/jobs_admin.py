"""Tags of the admin's own templates."""

from __future__ import annotations

from typing import Any

from django import template

register = template.Library()


@register.inclusion_tag("admin/jobs/overview.html", takes_context=True)
def jobs_overview(context: template.RequestContext) -> dict[str, Any]:
    """The overview, for who may see jobs."""
    # Deferred: Django imports these modules for its checks, before the admin is ready.
    from jobs.admin import overview

    request = context["request"]
    return overview.context(request) if overview.is_for(request) else {"is_hidden": True}
