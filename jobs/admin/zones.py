"""Moments in the zone of whoever looks, which the browser tells by a cookie (see zone.js).

Only on pages that show: what a form shows in one zone is not to be read in another. Where the site
itself activates somebody's zone, that is heeded, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.http import HttpRequest
from django.template.response import SimpleTemplateResponse
from django.utils import timezone

_COOKIE = "jobs_zone"
V = TypeVar("V", bound=Callable[..., Any])


def seen_from(request: HttpRequest) -> AbstractContextManager[Any]:
    """While it lasts, moments are shown in the viewer's zone."""
    named = request.COOKIES.get(_COOKIE, "")
    if not named or not settings.USE_TZ or request.method not in ("GET", "HEAD"):
        return nullcontext()
    if timezone.get_current_timezone_name() != timezone.get_default_timezone_name():
        return nullcontext()
    try:
        return timezone.override(ZoneInfo(named))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # Anybody may have set it.
        return nullcontext()


def in_viewers_zone(view: V) -> V:
    """A method of a ModelAdmin that shows a page."""

    @wraps(view)
    def shown(self: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            with seen_from(request):
                answer = view(self, request, *args, **kwargs)
                if isinstance(answer, SimpleTemplateResponse) and not answer.is_rendered:
                    answer.render()
                return answer
        except OverflowError:
            # A moment at the end of time is there in no other zone.
            return view(self, request, *args, **kwargs)

    return shown  # type: ignore[return-value]
