"""Callbacks: an address that a tool hands to the outside, good for saying once how one call ended."""

from __future__ import annotations

from typing import Any

import structlog
from django.core import signing

import tools
from runtime import answers
from runtime.callees import CALLBACK
from runtime.exceptions import CallbackUnknown, InputInvalid
from runtime.failures import text
from runtime.models import LedgerEntry
from runtime.values import check
from tools import Failed, Happened

logger = structlog.get_logger(__name__)


def entry_of(token: str) -> LedgerEntry:
    """The call that a token is bound to. Raises `CallbackUnknown`."""
    try:
        job, step, key = signing.loads(token, salt=CALLBACK)
    except (signing.BadSignature, ValueError) as error:
        raise CallbackUnknown from error
    entry = LedgerEntry.objects.select_related("step").filter(job=job, step=step, idempotency_key=key).first()
    if entry is None:
        raise CallbackUnknown
    return entry


def answer(entry: LedgerEntry, body: Any) -> LedgerEntry:
    """Settle the call with what was posted; a second time changes nothing. Raises `InputInvalid`."""
    if entry.state in answers.OPEN:
        answers.tell(entry, _ended(entry, body), source="callback")
    return entry


def _ended(entry: LedgerEntry, body: Any) -> answers.Ended:
    tool = tools.get(entry.name)
    if tool is None:  # without it nobody can tell a success from a failure
        logger.error("callback_unread", tool=entry.name, entry=entry.pk, reason="no such tool here")
        raise CallbackUnknown
    try:
        ended = tool.on_callback(body)
    except Exception as error:  # whatever the tool's author does not expect is a fault of what was posted
        # What the code says of itself is for us, and not for whoever posts.
        logger.warning("callback_unread", tool=entry.name, entry=entry.pk, reason=text(error))
        raise InputInvalid("body", "cannot be read by on_callback of the tool") from error
    if not isinstance(ended, Happened | Failed):
        raise InputInvalid("body", f"on_callback of the tool made {type(ended).__name__} of it")
    if isinstance(ended, Happened):
        check(ended.result, "body")
    return ended
