"""The lists: jobs, approvals that wait for the reader, calls in doubt. Each address holds its filters."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from forensics.answers import Unreadable
from forensics.rendering import is_partial, page, render
from runtime import agents, permissions, planning, strict_json
from runtime.api.serializers import ApprovalSerializer, EntrySummary, JobSummary
from runtime.conf import settings
from runtime.exceptions import AetherisError, InputInvalid
from runtime.graph import GraphInvalid
from runtime.models import Job, LedgerEntry, Wait
from runtime.states import JobStatus

JOBS_SHOWN = 50
MOST_SHOWN = 100


@page
@require_http_methods(["GET", "POST"])
def jobs(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _submit(request)
    if is_partial(request):
        return _live(request)
    return _jobs(request)


@page
@require_GET
def jobs_json(request: HttpRequest) -> HttpResponse:
    rows, older = _rows(request)
    return JsonResponse({"jobs": JobSummary(rows, many=True).data, "older": older})


@page
@require_GET
def approvals(request: HttpRequest) -> HttpResponse:
    return render(request, "forensics/approvals.html", {"waits": _decidable(request)})


@page
@require_GET
def approvals_json(request: HttpRequest) -> HttpResponse:
    shown = ApprovalSerializer(_decidable(request), many=True, context={"payloads": True}).data
    return JsonResponse({"approvals": shown})


@page
@require_GET
def doubts(request: HttpRequest) -> HttpResponse:
    return render(request, "forensics/doubts.html", {"entries": _doubts(request)})


@page
@require_GET
def doubts_json(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"entries": EntrySummary(_doubts(request), many=True).data})


def _decidable(request: HttpRequest) -> list[Wait]:
    return list(permissions.decidable(request.user).for_list().order_by("id")[:MOST_SHOWN])


def _doubts(request: HttpRequest) -> list[LedgerEntry]:
    entries = permissions.visible_entries(request.user).undecided().for_list()
    return list(entries.order_by("id")[:MOST_SHOWN])


# The list of jobs


def _jobs(request: HttpRequest, *, form: dict[str, str] | None = None, status: int = 200) -> HttpResponse:
    known = sorted(agents.registered().values(), key=lambda agent: agent.name)
    context = {
        **_listed(request),
        "statuses": JobStatus.values,
        "agents": known,
        "may_submit": permissions.may_submit(request.user),
        "form": form or {"key": str(uuid4()), "input": "{}"},
    }
    return render(request, "forensics/jobs.html", context, status=status)


def _live(request: HttpRequest) -> HttpResponse:
    """The table alone, and nothing at all while it is what the reader has."""
    listed = _listed(request)
    if request.GET.get("seen") == listed["mark"]:
        return HttpResponse(status=204)
    return HttpResponse(render_to_string("forensics/_jobs.html", listed, request))


def _listed(request: HttpRequest) -> dict[str, Any]:
    rows, older = _rows(request)
    chosen = {name: request.GET[name] for name in ("status", "agent", "before") if request.GET.get(name)}
    state = repr([(row.pk, row.seq, row.status) for row in rows]) + str(older)
    return {
        "jobs": rows,
        "older": f"?{urlencode({**chosen, 'before': older})}" if older else "",
        "chosen": chosen,
        "query": urlencode(chosen),
        "mark": hashlib.sha256(state.encode()).hexdigest()[:16],
        "names": permissions.names_of({row.submitted_by for row in rows}),
    }


def _rows(request: HttpRequest) -> tuple[list[Job], str]:
    rows = permissions.visible_jobs(request.user).for_list()
    if request.GET.get("status") in JobStatus.values:
        rows = rows.filter(status=request.GET["status"])
    if agent := request.GET.get("agent"):
        rows = rows.filter(agent=agent.replace("\0", ""))
    if before := _uuid(request.GET.get("before", "")):
        rows = rows.filter(pk__lt=before)
    found = list(rows.order_by("-pk")[: JOBS_SHOWN + 1])
    return found[:JOBS_SHOWN], str(found[JOBS_SHOWN - 1].pk) if len(found) > JOBS_SHOWN else ""


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


# Submitting


def _submit(request: HttpRequest) -> HttpResponse:
    if not permissions.may_submit(request.user):
        raise PermissionDenied("Your account may not submit jobs.")
    sent = {name: request.POST.get(name, "") for name in ("agent", "input", "key")}
    try:
        job = planning.submit(
            sent["agent"],
            _input(sent["input"]),
            idempotency_key=f"page:{request.user.pk}:{sent['key']}" if sent["key"] else None,
            by=permissions.principal(request.user),
        )
    except (AetherisError, GraphInvalid, Unreadable) as error:
        return _jobs(request, form={**sent, "error": str(error)}, status=422)
    messages.success(request, f"Submitted: {job.agent} is on its way.")
    return redirect(reverse("trace:job", args=[job.pk]))


def _input(text: str) -> Any:
    if not text.strip():
        return None
    limits = settings()
    try:
        return strict_json.loads(text, max_bytes=limits.max_value_bytes, max_depth=limits.max_depth)
    except strict_json.InvalidValue as error:
        raise InputInvalid(f"input.{error.path}" if error.path else "input", error.reason) from error
