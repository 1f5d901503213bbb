"""One tool for each declaration that a tool can make. All of them act on the witness, over HTTP."""

import os
from datetime import timedelta
from typing import Any

import httpx

from tools import (
    Absent,
    Compensation,
    Failed,
    Happened,
    NotSent,
    Pending,
    ToolContext,
    Verdict,
    tool,
    webhooks,
)

WEBHOOK_SECRET = "whsec_" + "dGhlIHdpdG5lc3MgdGVsbHMgYnkgd2ViaG9vaw=="


@tool(name="witness.pay", idempotent=True, key_window=timedelta(hours=24), timeout=30)
def pay(context: ToolContext, order: str) -> dict[str, Any]:
    """The witness does it once for each key."""
    return _post("/refunds", {"order": order, "amount": 1.0}, context.idempotency_key)


@tool(name="witness.notify", timeout=30)
def notify(context: ToolContext, order: str) -> dict[str, Any]:
    """Declares nothing: each request is one more message."""
    return _post("/messages", {"order": order, "text": "hello"}, context.idempotency_key)


@tool(name="witness.notify_two_at_once", timeout=30, concurrency=2)
def notify_two_at_once(context: ToolContext, order: str) -> dict[str, Any]:
    """The witness bears no more than two at a time, whoever sends them."""
    return _post("/messages", {"order": order, "text": "hello"}, context.idempotency_key)


def find_message(key: str, arguments: dict[str, Any]) -> Verdict:
    """Looks a message up by its key. A message on its way could still arrive: no fence."""
    answer = httpx.get(_url("/messages"), params={"key": key}, timeout=5, trust_env=False)
    found = answer.raise_for_status().json()["messages"]
    return Happened(found[0]) if found else Absent()


@tool(name="witness.notify_verified", verify=find_message, timeout=3)
def notify_verified(context: ToolContext, order: str) -> dict[str, Any]:
    """Not idempotent, but the witness can be asked whether it happened."""
    return _post("/messages", {"order": order, "text": "hello"}, context.idempotency_key)


def close_refund(key: str, arguments: dict[str, Any]) -> Verdict:
    """Asks what happened under a key and, if nothing did, makes sure that nothing will: a fence."""
    answer = httpx.post(_url("/refunds/closed"), json={"key": key}, timeout=5, trust_env=False)
    found = answer.raise_for_status().json()["refunds"]
    return Happened(found[0]) if found else Absent(fencing=True)


@tool(name="witness.pay_verified", verify=close_refund, timeout=30)
def pay_verified(context: ToolContext, order: str) -> dict[str, Any]:
    """Where the witness is asked, it also closes the key."""
    return _post("/refunds", {"order": order, "amount": 1.0}, context.idempotency_key)


@tool(
    name="witness.pay_undoably",
    compensate=Compensation("witness.notify_verified", {"order": "${input.order}"}),
)
def pay_undoably(context: ToolContext, order: str) -> dict[str, Any]:
    """Undone by a message."""
    return _post("/refunds", {"order": order, "amount": 1.0}, context.idempotency_key)


@tool(
    name="witness.payout",
    webhook="witness",
    timeout=30,
    compensate=Compensation("witness.notify_verified", {"order": "${arguments.order}"}),
)
def payout(context: ToolContext, order: str) -> Pending:
    """Accepted at once and ended later, of which a webhook tells; the witness cannot be asked."""
    accepted = _post("/payouts", {"order": order, "amount": 1.0}, context.idempotency_key)
    return Pending(accepted["id"], callback=True, timeout=timedelta(minutes=10))


@webhooks.provider("witness", verify=webhooks.StandardWebhooks([WEBHOOK_SECRET]))
def witness(event: Any) -> webhooks.Notice:
    payout = event["data"]
    ended = Happened(payout) if payout["status"] == "paid" else Failed(payout["reason"])
    return webhooks.Notice(ended, key=payout["key"], external_id=payout["id"])


def _post(path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
    try:
        answer = httpx.post(
            _url(path), json=body, headers={"Idempotency-Key": key}, timeout=30, trust_env=False
        )
    except httpx.ConnectError as error:
        raise NotSent(f"the witness cannot be reached: {error}") from error
    result: dict[str, Any] = answer.raise_for_status().json()
    return result


def _url(path: str) -> str:
    return os.environ["WITNESS_URL"] + path
