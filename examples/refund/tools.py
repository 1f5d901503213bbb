"""What the refund agent may do outside. Each tool declares what a second call would mean."""

from datetime import timedelta
from typing import Any

from examples.refund import outside
from tools import tool


@tool(read_only=True, timeout=10)
def query_order(context: Any, order_id: str) -> dict[str, Any]:
    """Look an order up."""
    return outside.get(f"/orders/{order_id}")


@tool(idempotent=True, key_window=timedelta(hours=24), timeout=20)
def refund(context: Any, order_id: str, amount: float) -> dict[str, Any]:
    """Pay back. The payment service does it once for each key, however often it is asked."""
    return outside.post("/refunds", {"order": order_id, "amount": amount}, key=context.idempotency_key)


@tool(timeout=20)
def tell_customer(context: Any, order_id: str, text: str) -> dict[str, Any]:
    """Write to the customer. A second call is a second message: an unclear one is left to a person."""
    return outside.post("/messages", {"order": order_id, "text": text}, key=context.idempotency_key)
