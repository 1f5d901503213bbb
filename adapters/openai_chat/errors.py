"""What a model service may answer instead of a completion: each condition a type, permanent or worth another try.

Asking has no effect, so whatever went wrong may be asked again; an error is permanent where that cannot help.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tools import NotSent, Refused, ToolError

SHOWN_TEXT = 500
TOO_LONG = frozenset({"context_length_exceeded", "string_above_max_length"})
FILTERED = frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})
QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
SERVERS_SAY_TOO_LONG = ("maximum context length", "context length exceeded", "exceeds the context window")
"""Local servers have no code for it."""


class ModelBusy(NotSent):
    """Too many requests: the same one later."""


class ModelUnavailable(NotSent):
    """The service cannot be reached, or failed: the same request later."""


class ModelTimedOut(ToolError):
    """The answer was not complete in time."""


class AnswerTruncated(ToolError):
    """The connection ended before the answer did."""


class AnswerMalformed(ToolError):
    """What came is no chat completion."""


class AnswerTooLong(Refused):
    """The answer is larger than a value may be."""


class RequestRefused(Refused):
    """The service will never take this request."""


class CredentialsRefused(Refused):
    """The key is missing, wrong or not allowed to do this."""


class QuotaExhausted(Refused):
    """The account has nothing left: a matter for people, not for another attempt."""


class ContextTooLong(Refused):
    """Messages and answer do not fit into the model's context."""


class ContentFiltered(Refused):
    """The service refuses what was asked, or what the model was about to say."""


def of_status(status: int, text: str, after: timedelta | None) -> ToolError:
    """The error that an answer other than 200 means; `after` is what its `Retry-After` says."""
    error = _error(text)
    said = f"the model service answered {status}: {_message(error, text)}"
    return of_error(error, said) or _by_status(status, said, after)


def of_error(error: Mapping[str, Any], said: str) -> ToolError | None:
    """The error that a code or type of the protocol names, whatever status it came with; None if it names none."""
    codes = {str(error.get("code")), str(error.get("type"))}
    if codes & TOO_LONG or any(words in said.lower() for words in SERVERS_SAY_TOO_LONG):
        return ContextTooLong(said)
    if codes & FILTERED:
        return ContentFiltered(said)
    if codes & QUOTA:
        return QuotaExhausted(said)
    return None


def in_stream(error: Any) -> ToolError:
    """The error that a stream broke off with."""
    error = error if isinstance(error, dict) else {"message": str(error)}
    said = f"the model service broke off: {_message(error, json.dumps(error))}"
    return of_error(error, said) or ModelUnavailable(said)


def _by_status(status: int, said: str, after: timedelta | None) -> ToolError:
    match status:
        case 429:
            return ModelBusy(said, retry_after=after)
        case 401 | 403:
            return CredentialsRefused(said)
        case 408 | 409 | 425:
            return ModelUnavailable(said, retry_after=after)
        case _ if status >= 500:
            return ModelUnavailable(said, retry_after=after)
        case _:
            return RequestRefused(said)


def _error(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    error = body.get("error", body) if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {"message": error} if isinstance(error, str) else {}


def _message(error: Mapping[str, Any], text: str) -> str:
    told = error.get("message")
    return " ".join((told if isinstance(told, str) and told else text).split())[:SHOWN_TEXT]
