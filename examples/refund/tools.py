"""What the refund agent may do outside. Each tool declares what a second call would mean."""

from datetime import timedelta
from typing import Any

from examples.refund import outside
from tools import Absent, Happened, ToolContext, Verdict, tool


@tool(read_only=True, timeout=20)
def query_order(order_id: str) -> dict[str, Any]:
    """Look an order up."""
    return outside.get(f"/orders/{order_id}")


@tool(idempotent=True, key_window=timedelta(hours=24), timeout=20)
def refund(context: ToolContext, order_id: str, amount: float) -> dict[str, Any]:
    """Pay back. The payment service does it once for each key, however often it is asked."""
    return outside.post("/refunds", {"order": order_id, "amount": amount}, key=context.idempotency_key)


def was_told(key: str, arguments: dict[str, Any]) -> Verdict:
    """Ask the service whether a message with this key was sent."""
    sent = outside.get("/messages", key=key)["messages"]
    # It may still be on its way: the runtime waits until it cannot arrive any more before it sends another.
    return Happened(sent[0]) if sent else Absent(fencing=False)


@tool(verify=was_told, timeout=20)
def tell_customer(context: ToolContext, order_id: str, text: str) -> dict[str, Any]:
    """Write to the customer. A second call is a second message, so after a crash `was_told` is asked first."""
    return outside.post("/messages", {"order": order_id, "text": text}, key=context.idempotency_key)
