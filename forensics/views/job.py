"""The page of one job, and what its readers may do there. A deed is a POST; afterwards the page is shown again."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from forensics import job_page
from forensics.answers import AnswerForm, Unreadable
from forensics.job_page import Doubt, JobPage, Window
from forensics.rendering import is_partial, page, render
from runtime import approvals, permissions, resolution, strict_json
from runtime.api.views.jobs import detail
from runtime.exceptions import AetherisError, ApprovalInvalid
from runtime.models import Job, LedgerEntry, Wait

VERBS = {"cancel": Job.cancel, "pause": Job.pause, "resume": Job.resume, "retry": Job.retry}
DONE = {
    "cancel": "Asked to cancel.",
    "pause": "Paused.",
    "resume": "Goes on.",
    "retry": "Reopened: what failed is tried again.",
}


@page
@require_GET
def job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    found = _found(request, job_id)
    if is_partial(request) and request.GET.get("seen") == str(found.seq):
        return HttpResponse(status=204)
    shown = job_page.read(found, request.user, _window(request))
    if shown.payloads_shown and not is_partial(request):
        permissions.note_payload_view(request.user, found.pk, "trace page")
    if is_partial(request):
        return HttpResponse(render_to_string("forensics/_job.html", _context(request, shown), request))
    return _page(request, shown)


@page
@require_GET
def job_json(request: HttpRequest, job_id: UUID) -> HttpResponse:
    return JsonResponse(detail(request.user, permissions.visible_job(request.user, job_id)))


@page
@require_POST
def operate(request: HttpRequest, job_id: UUID, verb: str) -> HttpResponse:
    found = _found(request, job_id)
    _require_operator(request)
    try:
        VERBS[verb](found, by=permissions.principal(request.user), why=request.POST.get("why", "")[:2000])
    except AetherisError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, DONE[verb])
    return _back(found)


@page
@require_POST
def decide(request: HttpRequest, job_id: UUID, wait_id: int) -> HttpResponse:
    """422 and the form with what was typed, where the answer does not fit; the wait stays open."""
    found = _found(request, job_id)
    wait = _wait(found, wait_id)
    if not approvals.may_decide(wait, request.user):
        raise PermissionDenied("This approval is not yours to decide.")
    approve = request.POST.get("decision") == "approved"
    form = AnswerForm(wait.schema, f"answer-{wait.pk}", {name: str(v) for name, v in request.POST.items()})
    answer = form.answer() if approve else {}
    if form.is_valid or not approve:
        try:
            approvals.decide(
                found, wait.step_key, approve=approve, user=cast(Any, request.user), answer=answer, comment=form.comment
            )  # fmt: skip
        except ApprovalInvalid as error:
            form.blame(error.field, error.reason)
        except AetherisError as error:
            messages.error(request, str(error))
            return _back(found)
        else:
            messages.success(request, f"{'Approved' if approve else 'Rejected'}: {wait.step_key}.")
            return _back(found)
    shown = job_page.read(found, request.user, _window(request), {wait.pk: form})
    return _page(request, shown, status=422)


@page
@require_POST
def signal(request: HttpRequest, job_id: UUID, wait_id: int) -> HttpResponse:
    found = _found(request, job_id)
    wait = _wait(found, wait_id)
    if not permissions.may_signal(request.user, found):
        raise PermissionDenied("Your account may not signal this job.")
    sent = request.POST.get("payload", "")
    try:
        fresh = found.signal(
            wait.name, _json(sent), dedup_id=f"page:{wait.pk}", sender=permissions.principal(request.user)
        )
    except (AetherisError, Unreadable) as error:
        shown = job_page.read(found, request.user, _window(request))
        for one in shown.waits:
            if one.wait.pk == wait.pk:
                one.error, one.sent = str(error), sent
        return _page(request, shown, status=422)
    if fresh:
        messages.success(request, f"Delivered: {wait.name}.")
    else:
        messages.error(request, f"{wait.name} was sent for this wait before: this one had no effect.")
    return _back(found)


@page
@require_POST
def resolve(request: HttpRequest, job_id: UUID, entry_id: int) -> HttpResponse:
    found = _found(request, job_id)
    _require_operator(request)
    entry = LedgerEntry.objects.filter(job=found, pk=entry_id).first()
    if entry is None:
        raise Http404("There is no such call.")
    sent = {name: request.POST.get(name, "") for name in ("verdict", "why", "result")}
    try:
        resolution.resolve(
            entry,
            cast(resolution.Verdict, sent["verdict"]),
            by=permissions.principal(request.user),
            why=sent["why"],
            result=_json(sent["result"]),
            attempt=_number(request.POST.get("attempt")),
        )
    except (AetherisError, Unreadable) as error:
        shown = job_page.read(found, request.user, _window(request))
        for one in shown.doubts:
            if one.entry.pk == entry.pk:
                _keep(one, sent, str(error))
        return _page(request, shown, status=422)
    messages.success(request, f"Settled: {entry.call} is {entry.state}.")
    return _back(found)


def _keep(doubt: Doubt, sent: dict[str, str], error: str) -> None:
    doubt.sent, doubt.error = sent, error


def _found(request: HttpRequest, job_id: UUID) -> Job:
    """Without its payload columns: what is shown of them is read clipped."""
    return permissions.visible_job(
        request.user, job_id, without=("input", "result", "request_digest", "head")
    )


def _wait(job: Job, wait_id: int) -> Wait:
    wait = job.waits.filter(pk=wait_id).first()
    if wait is None:
        raise Http404("There is no such wait.")
    return wait


def _require_operator(request: HttpRequest) -> None:
    if not permissions.may_operate(request.user):
        raise PermissionDenied("Your account lacks the permission runtime.operate_job.")


def _json(text: str) -> Any:
    try:
        return strict_json.loads(text) if text.strip() else None
    except strict_json.InvalidValue as error:
        raise Unreadable(f"This cannot be read as JSON: {error}") from error


def _window(request: HttpRequest) -> Window:
    asked = request.GET
    return Window(
        step=asked.get("step", "").replace("\0", "")[:255],
        status=asked.get("status", ""),
        steps_after=_number(asked.get("steps_after")) or 0,
        events_before=_number(asked.get("events_before")),
        scope=_number(asked.get("scope")),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= 18 else None


def _page(request: HttpRequest, shown: JobPage, *, status: int = 200) -> HttpResponse:
    return render(request, "forensics/job.html", _context(request, shown), status=status)


def _context(request: HttpRequest, shown: JobPage) -> dict[str, Any]:
    address = reverse("trace:job", args=[shown.job.pk])
    query = request.GET.copy()
    query.pop("seen", None)
    return {
        "page": shown,
        "job": shown.job,
        "address": address,
        "query": query.urlencode(),
        "window": _window(request),
    }


def _back(job: Job) -> HttpResponse:
    return redirect(reverse("trace:job", args=[job.pk]))
