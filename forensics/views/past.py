"""A job's past: its state after an event, and what differs between two events. Nothing here can be done, only seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET

from forensics.rendering import page, render
from runtime import permissions
from runtime.api.views import past
from runtime.exceptions import InputInvalid
from runtime.fold import JobState
from runtime.models import Job

ROWS_SHOWN = 200
CLIP = 2000

Row = tuple[str, str, str, str]
"""Where, what, and how it was and is."""


@page
@require_GET
def state(request: HttpRequest, job_id: UUID, seq: int) -> HttpResponse:
    job = _found(request, job_id)
    then = _state(job, seq)
    context = {
        "job": job,
        "state": then,
        "seq": seq,
        "event": job.events.filter(seq=seq).first(),
        "steps": list(islice(then.steps.items(), ROWS_SHOWN)),
        "ledger": list(islice(then.ledger.items(), ROWS_SHOWN)),
        "more": max(0, len(then.steps) - ROWS_SHOWN) + max(0, len(then.ledger) - ROWS_SHOWN),
    }
    return render(request, "forensics/state.html", context)


@page
@require_GET
def state_json(request: HttpRequest, job_id: UUID, seq: int) -> HttpResponse:
    job = _found(request, job_id)
    return JsonResponse(past.state_json(job, _state(job, seq)))


@page
@require_GET
def diff(request: HttpRequest, job_id: UUID, before: int, after: int) -> HttpResponse:
    job = _found(request, job_id)
    found = _diff(request, job, before, after)
    rows = list(_rows(found))
    context = {
        "job": job,
        "before": before,
        "after": after,
        "rows": rows[:ROWS_SHOWN],
        "more": max(0, len(rows) - ROWS_SHOWN),
        "withheld": found["withheld"],
    }
    return render(request, "forensics/diff.html", context)


@page
@require_GET
def diff_json(request: HttpRequest, job_id: UUID, before: int, after: int) -> HttpResponse:
    return JsonResponse(_diff(request, _found(request, job_id), before, after))


@page
@require_GET
def compare(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    """Where the form leads that asks for two events."""
    job = _found(request, job_id)
    numbers = [request.GET.get(name, "") for name in ("from", "to")]
    if not all(text.isascii() and text.isdecimal() and len(text) <= 18 for text in numbers):
        raise Http404("Give the numbers of two events.")
    return redirect(reverse("trace:diff", args=[job.pk, *map(int, numbers)]))


def _found(request: HttpRequest, job_id: UUID) -> Job:
    return permissions.visible_job(
        request.user, job_id, without=("input", "result", "error", "request_digest", "head")
    )


def _state(job: Job, seq: int) -> JobState:
    try:
        return past.state(job, seq)
    except InputInvalid as error:
        raise Http404(error.reason) from error


def _diff(request: HttpRequest, job: Job, before: int, after: int) -> dict[str, Any]:
    try:
        return past.between(request.user, job, before, after)
    except InputInvalid as error:
        raise Http404(error.reason) from error


def _rows(found: dict[str, Any]) -> Iterator[Row]:
    for name, pair in found["job"].items():
        yield "job", name, *map(_text, pair)
    for key, fields in found["steps"].items():
        for name, pair in fields.items():
            yield key, name, *map(_text, pair)
    for kind in ("results", "ledger"):
        for key, pair in (found[kind] or {}).items():
            yield key, {"results": "result", "ledger": "call"}[kind], *map(_text, pair)


def _text(value: Any) -> str:
    if value is None or value == "":
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    return text if len(text) <= CLIP else f"{text[:CLIP]}…"
