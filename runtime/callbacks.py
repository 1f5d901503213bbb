"""Callbacks: an address that a tool hands to the outside, good for saying once how one call ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core import signing

import tools
from runtime import answers
from runtime.callees import CALLBACK
from runtime.exceptions import CallbackUnknown, InputInvalid
from runtime.models import LedgerEntry
from runtime.values import check
from tools import Failed, Happened


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
    read: Callable[[Any], Any] = tool.on_callback if tool else Happened
    try:
        ended = read(body)
    except Exception as error:  # whatever the tool's author does not expect is a fault of what was posted
        raise InputInvalid("body", f"cannot be read: {error}") from error
    if not isinstance(ended, Happened | Failed):
        raise InputInvalid("body", f"on_callback of {entry.name!r} answered {type(ended).__name__}")
    if isinstance(ended, Happened):
        check(ended.result, "body")
    return ended
