"""Turning what was read into a page: navigation with its numbers, and never from a cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render as django_render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers

from runtime import permissions
from runtime.exceptions import JobNotFound
from runtime.states import EntryState

P = ParamSpec("P")
MOST_COUNTED = 100


def page(
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """For people who are logged in. A job that is not theirs to see is not there."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _to_login(request)
        try:
            response = view(request, *args, **kwargs)
        except JobNotFound as error:
            response = render(request, "404.html", {"message": str(error)}, status=404)
        add_never_cache_headers(response)
        return response

    return guarded


def render(
    request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    return django_render(request, template, {**_navigation(request), **context}, status=status)


def is_partial(request: HttpRequest) -> bool:
    """Whether htmx polls for the live part of a page."""
    return request.headers.get("HX-Request") == "true"


def _to_login(request: HttpRequest) -> HttpResponseBase:
    if is_partial(request):  # a poll must not swap the login page into the middle of another
        return HttpResponse(status=200, headers={"HX-Redirect": reverse("trace:login")})
    return redirect_to_login(request.get_full_path())


def _navigation(request: HttpRequest) -> dict[str, Any]:
    if is_partial(request):
        return {}
    asked = permissions.decidable(request.user)[:MOST_COUNTED]
    doubts = permissions.visible_entries(request.user).filter(state=EntryState.UNKNOWN)[:MOST_COUNTED]
    return {"approvals_open": asked.count(), "doubts_open": doubts.count()}
