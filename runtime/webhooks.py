"""Webhooks that come in: proved, kept, answered, and only then read.

What was kept is read once, right after it was answered, or by the sweep when a crash came between. One that speaks
of a call which is not known yet is kept until it is: the outside may be faster than its own answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError
from django.db.models import F

from runtime import answers, committed, strict_json
from runtime.clock import DatabaseNow
from runtime.conf import settings
from runtime.exceptions import InputInvalid, ProviderNotFound, WebhookRefused
from runtime.failures import clean, text
from runtime.models import LedgerEntry, Webhook
from runtime.states import WebhookState
from runtime.turn import Turn, part
from runtime.values import check, check_text
from tools import Happened, webhooks
from tools.webhooks import BadSignature, Notice

logger = structlog.get_logger(__name__)

TENANT = "default"
LONGEST_EVENT_ID: int = Webhook._meta.get_field("event_id").max_length or 0


def receive(provider: str, headers: Mapping[str, str], body: bytes) -> Webhook:
    """Keep an event, whose signature fits, and read it after the commit.

    The same event again is the first one. Raises `ProviderNotFound`, `WebhookRefused` where the signature does not
    fit, `InputInvalid` where the body is not JSON that can be kept; then nothing is.
    """
    declared = webhooks.get(provider)
    if declared is None:
        raise ProviderNotFound(provider)
    try:
        event_id = declared.verify(headers, body)
    except BadSignature as error:
        raise WebhookRefused(provider, str(error)) from error
    check_text(event_id, "event id", LONGEST_EVENT_ID)
    kept, is_new = Webhook.objects.get_or_create(
        tenant=TENANT,
        provider=provider,
        event_id=event_id,
        defaults={"body": _parsed(body), "state": WebhookState.RECEIVED, "received_at": DatabaseNow()},
    )
    if not is_new:
        Webhook.objects.filter(pk=kept.pk).update(deliveries=F("deliveries") + 1)
    if is_new or kept.state == WebhookState.UNREADABLE:
        committed.then(lambda: read(kept))
    return kept


def read(webhook: Webhook) -> None:
    """What it says, said to the call that it speaks of, if that is known."""
    declared = webhooks.get(webhook.provider)
    try:
        if declared is None:
            raise ProviderNotFound(webhook.provider)
        notice = _notice(declared.read(webhook.body))
    except (OperationalError, InterfaceError):
        raise
    except (
        Exception
    ) as error:  # the reader is other people's code: its fault is kept with what it could not read
        logger.exception("webhook_unreadable", provider=webhook.provider, webhook=webhook.pk)
        _note(webhook, WebhookState.UNREADABLE, error=clean(f"{type(error).__name__}: {text(error)}")[:2000])
        return
    if notice is None:
        _note(webhook, WebhookState.IGNORED)
        return
    webhook.key, webhook.external_id = _uuid(notice.key), notice.external_id
    _note(webhook, WebhookState.RECEIVED)
    entry = _entry_of(webhook)
    if entry is not None:
        _apply(webhook, notice, entry)


def _apply(webhook: Webhook, notice: Notice, entry: LedgerEntry) -> None:
    webhook.entry = entry
    if answers.tell(entry, notice.ended, source="webhook"):
        _note(webhook, WebhookState.APPLIED)
    elif answers.agrees(entry, notice.ended):
        _note(webhook, WebhookState.REPEATED)
    elif _note(webhook, WebhookState.CONTRADICTED):
        _tell_contradiction(webhook, entry)


def _tell_contradiction(webhook: Webhook, entry: LedgerEntry) -> None:
    """What was settled stays; the history says that somebody says otherwise."""
    logger.warning("webhook_contradicts", provider=webhook.provider, webhook=webhook.pk, entry=entry.pk)
    with Turn(entry.job_id) as turn:
        turn.event(
            "tool_contradicted",
            step=entry.step.key,
            data={"call": entry.call, "generation": entry.generation, "webhook": webhook.pk},
            parts=[part("webhook", webhook.body)],
            call=f"{entry.call}#{entry.generation}",
        )


def _note(webhook: Webhook, state: WebhookState, *, error: str = "") -> bool:
    """Whether it was still for us to say: two processes may read the same event."""
    webhook.state, webhook.error = state, error
    values = {"key": webhook.key, "external_id": webhook.external_id, "entry": webhook.entry}
    known = [WebhookState.RECEIVED, WebhookState.UNREADABLE]
    if state == WebhookState.APPLIED:
        known.append(
            WebhookState.REPEATED
        )  # said by a process that read the same event right after it was applied
    open_rows = Webhook.objects.filter(pk=webhook.pk, state__in=known)
    return bool(open_rows.update(state=state, error=error, read_at=DatabaseNow(), **values))


def _entry_of(webhook: Webhook) -> LedgerEntry | None:
    """Only calls of tools that name this provider: another one's secret settles nothing of theirs."""
    entries = LedgerEntry.objects.filter(tenant=webhook.tenant, provider=webhook.provider)
    entries = entries.exclude(provider="").select_related("step").order_by("-id")
    found = entries.filter(idempotency_key=webhook.key).first() if webhook.key else None
    if found is None and webhook.external_id:
        found = entries.exclude(external_id="").filter(external_id=webhook.external_id).first()
    return found


def _notice(told: Any) -> Notice | None:
    if told is None:
        return None
    if not isinstance(told, Notice) or not isinstance(told.ended, answers.Ended):
        raise TypeError(f"a reader answers a Notice or None, not {told!r:.200}")
    if isinstance(told.ended, Happened):
        check(told.ended.result, "webhook result")
    check_text(told.external_id or None, "external_id", 255)
    if not told.key and not told.external_id:
        raise ValueError("a Notice names its call by key or external_id")
    return told


def _uuid(key: str) -> UUID | None:
    """Another text than one of our keys names no call."""
    try:
        return UUID(key)
    except ValueError:
        return None


def _parsed(body: bytes) -> Any:
    try:
        return strict_json.loads(body, max_bytes=len(body), max_depth=settings().max_depth)
    except strict_json.InvalidValue as error:
        raise InputInvalid(error.path or "body", error.reason) from error
