"""Errors as problem documents (RFC 9457). One table says which error is which problem, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions as drf
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_handler

from runtime import exceptions
from runtime.api.parsers import BodyTooLarge
from runtime.graph import GraphInvalid
from runtime.strict_json import InvalidValue

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A kind of problem: `type` in the document is its address."""

    slug: str
    status: HTTPStatus
    title: str
    remedy: str


NOT_FOUND = Kind(
    "not-found",
    HTTPStatus.NOT_FOUND,
    "There is no such thing",
    "Check the id. What you may not see answers the same.",
)
INVALID = Kind(
    "invalid-input",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The request holds something that cannot be accepted",
    "Mend the places that `errors` names and send it again.",
)
GRAPH_INVALID = Kind(
    "invalid-graph",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The TaskGraph cannot run",
    "`errors` lists every fault with its place in the graph.",
)
ANSWER_INVALID = Kind(
    "invalid-answer",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The answer does not fit the approval's schema",
    "The approval stays open: mend the field and decide again.",
)
TOO_LARGE = Kind(
    "too-large",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "The request is too large",
    "Store large values elsewhere and send references.",
)
IDEMPOTENCY = Kind(
    "idempotency-conflict",
    HTTPStatus.CONFLICT,
    "The idempotency key was used for another request",
    "Use a new key for a new request.",
)
FINISHED = Kind(
    "job-finished",
    HTTPStatus.CONFLICT,
    "The job has ended",
    "Read the job: only retrying a failed one changes its status.",
)
NOT_FAILED = Kind(
    "not-failed",
    HTTPStatus.CONFLICT,
    "The job cannot be retried",
    "Read the job: only a failed one can be retried, and only while what it did was not undone.",
)
NOT_HELD = Kind(
    "not-paused",
    HTTPStatus.CONFLICT,
    "The agent or queue is not paused",
    "`GET /api/v1/holds` lists what is.",
)
STALE = Kind(
    "stale", HTTPStatus.CONFLICT, "Somebody else was first", "Read it again and decide on what you find."
)
DECIDED = Kind(
    "approval-closed",
    HTTPStatus.CONFLICT,
    "The approval cannot be decided any more",
    "Read the job to see how it was decided.",
)
UNAUTHENTICATED = Kind(
    "not-authenticated",
    HTTPStatus.UNAUTHORIZED,
    "Who are you?",
    "Send `Authorization: Token …`, or log in.",
)
BAD_SIGNATURE = Kind(
    "bad-signature",
    HTTPStatus.UNAUTHORIZED,
    "The webhook is not signed as its provider signs",
    "Check the secret and the clock of the sender. Nothing was kept.",
)
FORBIDDEN = Kind(
    "forbidden", HTTPStatus.FORBIDDEN, "You may not do this", "Ask for the permission that the detail names."
)
UNAVAILABLE = Kind(
    "database-unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The database does not answer",
    "Nothing is known to have changed. Try again, with the same Idempotency-Key.",
)
REFUSED = Kind(
    "refused",
    HTTPStatus.CONFLICT,
    "The runtime refused this",
    "The detail says why; `manage.py doctor` knows more.",
)
METHOD = Kind(
    "method-not-allowed",
    HTTPStatus.METHOD_NOT_ALLOWED,
    "This address does not take the method",
    "See the `Allow` header.",
)
MEDIA = Kind(
    "unsupported-media-type",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "Only JSON is understood",
    "Send `Content-Type: application/json`.",
)
NOT_ACCEPTABLE = Kind(
    "not-acceptable",
    HTTPStatus.NOT_ACCEPTABLE,
    "Only JSON is spoken here",
    "Send `Accept: application/json`.",
)
THROTTLED = Kind(
    "too-many-requests",
    HTTPStatus.TOO_MANY_REQUESTS,
    "Too many requests",
    "Wait for as long as `Retry-After` says.",
)
OVERLOADED = Kind(
    "overloaded",
    HTTPStatus.TOO_MANY_REQUESTS,
    "There is more to do than is being done",
    "Nothing was kept. Wait for as long as `Retry-After` says and submit it again.",
)

Details = list[dict[str, str]]


@dataclass(frozen=True)
class Mapped:
    """What an error becomes: a kind, its detail, and the places it names."""

    kind: Kind
    detail: str
    errors: Details = field(default_factory=list)


def _plain(kind: Kind) -> Callable[[Any], Mapped]:
    return lambda error: Mapped(kind, str(error))


def _at(kind: Kind, place: Callable[[Any], str], reason: Callable[[Any], str]) -> Callable[[Any], Mapped]:
    return lambda error: Mapped(
        kind, str(error), [{"field": place(error), "code": "invalid", "detail": reason(error)}]
    )


def _graph(error: GraphInvalid) -> Mapped:
    problems = [
        {
            "field": f"graph.{p.path}" if p.path else "graph",
            "code": p.code,
            "detail": str(p.message),
            "hint": p.hint,
        }
        for p in error.problems
    ]
    return Mapped(GRAPH_INVALID, str(error), problems)


def _serializer(error: drf.ValidationError) -> Mapped:
    errors = list(_flat(error.detail))
    return Mapped(INVALID, "; ".join(f"{e['field']}: {e['detail']}" for e in errors[:5]), errors)


def _flat(detail: Any, place: str = "") -> Iterator[dict[str, str]]:
    if isinstance(detail, dict):
        for key, value in detail.items():
            below = place if key == "non_field_errors" else f"{place}.{key}" if place else str(key)
            yield from _flat(value, below)
    elif isinstance(detail, list):
        for item in detail:
            yield from _flat(item, place)
    else:
        yield {"field": place or "body", "code": getattr(detail, "code", "invalid"), "detail": str(detail)}


def _denied(error: Exception) -> Mapped:
    return Mapped(FORBIDDEN, str(error) or "Your account lacks the permission.")


TABLE: tuple[tuple[type[Exception], Callable[[Any], Mapped]], ...] = (
    (exceptions.JobNotFound, _plain(NOT_FOUND)),
    (exceptions.ScheduleNotFound, _plain(NOT_FOUND)),
    (exceptions.StepNotFound, _plain(NOT_FOUND)),
    (exceptions.BulkNotFound, _plain(NOT_FOUND)),
    (exceptions.NotHeld, _plain(NOT_HELD)),
    (exceptions.ProviderNotFound, _plain(NOT_FOUND)),
    (exceptions.CallbackUnknown, _plain(NOT_FOUND)),
    (exceptions.WebhookRefused, _plain(BAD_SIGNATURE)),
    (exceptions.AgentNotFound, _at(INVALID, lambda e: "agent", str)),
    (BodyTooLarge, _at(TOO_LARGE, lambda e: e.path, lambda e: e.reason)),
    (exceptions.InputInvalid, _at(INVALID, lambda e: e.path, lambda e: e.reason)),
    (exceptions.ApprovalInvalid, _at(ANSWER_INVALID, lambda e: f"answer.{e.field}", lambda e: e.reason)),
    (exceptions.ApprovalRefused, _plain(DECIDED)),
    (exceptions.IdempotencyConflict, _plain(IDEMPOTENCY)),
    (exceptions.RetryRefused, _plain(NOT_FAILED)),
    (exceptions.JobFinished, _plain(FINISHED)),
    (exceptions.Overloaded, _plain(OVERLOADED)),
    (exceptions.StaleAttempt, _plain(STALE)),
    (GraphInvalid, _graph),
    (InvalidValue, _at(INVALID, lambda e: e.path or "body", lambda e: e.reason)),
    (exceptions.AetherisError, _plain(REFUSED)),
    (drf.ValidationError, _serializer),
    (ValidationError, lambda e: Mapped(INVALID, "; ".join(e.messages))),
    (drf.ParseError, _plain(INVALID)),
    (drf.NotAuthenticated, _plain(UNAUTHENTICATED)),
    (drf.AuthenticationFailed, _plain(UNAUTHENTICATED)),
    (drf.PermissionDenied, _denied),
    (PermissionDenied, _denied),
    (drf.NotFound, _plain(NOT_FOUND)),
    (Http404, _plain(NOT_FOUND)),
    (drf.MethodNotAllowed, _plain(METHOD)),
    (drf.UnsupportedMediaType, _plain(MEDIA)),
    (drf.NotAcceptable, _plain(NOT_ACCEPTABLE)),
    (drf.Throttled, _plain(THROTTLED)),
    (OperationalError, lambda e: Mapped(UNAVAILABLE, "PostgreSQL cannot be asked right now.")),
    (InterfaceError, lambda e: Mapped(UNAVAILABLE, "PostgreSQL cannot be asked right now.")),
)

KINDS: dict[str, Kind] = {kind.slug: kind for kind in list(globals().values()) if isinstance(kind, Kind)}


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. None for what nobody foresaw: that is a fault of ours and shows as one."""
    mapped = mapped_to(error)
    if mapped is None:
        return None
    told = drf_handler(error, context)  # rolls back, and knows WWW-Authenticate, Retry-After and Allow
    headers = {
        name: value
        for name, value in (told.headers.items() if told is not None else ())
        if name in ("WWW-Authenticate", "Retry-After", "Allow")
    }
    if mapped.kind is UNAVAILABLE:
        headers["Retry-After"] = "2"
    if isinstance(error, exceptions.Overloaded):
        headers["Retry-After"] = f"{error.retry_after:.0f}"
    return document(mapped, context["request"], headers)


def mapped_to(error: Exception) -> Mapped | None:
    return next((make(error) for known, make in TABLE if isinstance(error, known)), None)


def document(mapped: Mapped, request: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(
        body(mapped, request), status=mapped.kind.status, headers=headers, content_type=MEDIA_TYPE
    )


def body(mapped: Mapped, request: Any) -> dict[str, Any]:
    kind = mapped.kind
    told: dict[str, Any] = {
        "type": f"/api/v1/problems/{kind.slug}",
        "title": kind.title,
        "status": int(kind.status),
        "detail": mapped.detail,
        "instance": request.path,
        "remedy": kind.remedy,
    }
    if mapped.errors:
        told["errors"] = mapped.errors
    return told
