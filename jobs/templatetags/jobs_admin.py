"""Tags of the admin's own templates."""

from __future__ import annotations

import django
from django import template
from django.template.loader import render_to_string

register = template.Library()


@register.simple_tag
def breadcrumbs_are_a_list() -> bool:
    """Whether this Django's admin has its breadcrumbs in an <ol>, which it styles then."""
    return django.VERSION >= (6, 1)


@register.simple_tag(takes_context=True)
def jobs_overview(context: template.RequestContext) -> str:
    """The overview, for who may see jobs."""
    # Deferred: Django imports these modules for its checks, before the admin is ready.
    from jobs.admin import overview, zones

    request = context["request"]
    if not overview.is_for(request):
        return ""

    def drawn() -> str:
        return render_to_string("admin/jobs/overview.html", overview.context(request), request)

    try:
        with zones.seen_from(request):
            return drawn()
    except OverflowError:
        # As there: a moment at the end of time.
        return drawn()
