"""Where the admin's pages are: of the site that shows this one, which need not be the default one,
nor have all of them."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse


def asked(request: HttpRequest, name: str) -> str:
    """What an address says; without what PostgreSQL has not as text."""
    return request.GET.get(name, "").replace("\0", "")


class Places:
    def __init__(self, request: HttpRequest, site: str = "") -> None:
        self._site = site or getattr(request, "current_app", None) or "admin"

    def of(self, name: str, *args: object, **query: str) -> str:
        """The address of a page; empty where this site has none."""
        try:
            address = reverse(f"admin:{name}", args=args, current_app=self._site)
        except NoReverseMatch:
            return ""
        said = {key: value for key, value in query.items() if value}
        return f"{address}?{urlencode(said)}" if said else address

    def jobs(self, **filters: str) -> str:
        """The list of jobs, filtered."""
        return self.of("jobs_job_changelist", **filters)
