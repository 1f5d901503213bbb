"""What the refund agent may do outside. Each tool declares what a second call would mean."""

from datetime import timedelta
from typing import Any

from examples.refund.outside import payments
from tools import Absent, Happened, ToolContext, Verdict, tool
from tools.http import path


@tool(read_only=True, timeout=20)
def query_order(context: ToolContext, order_id: str) -> Any:
    """Look an order up."""
    return payments().get(context, path("orders", order_id))


@tool(idempotent=True, key_window=timedelta(hours=24), timeout=20)
def refund(context: ToolContext, order_id: str, amount: float) -> Any:
    """Pay back. The payment service does it once for each key, however often it is asked."""
    return payments().post(context, "/refunds", json={"order": order_id, "amount": amount})


def was_told(key: str, arguments: dict[str, Any]) -> Verdict:
    """Ask the service whether a message with this key was sent."""
    sent = payments().get(None, "/messages", params={"key": key})["messages"]
    # It may still be on its way: the runtime waits until it cannot arrive any more before it sends another.
    return Happened(sent[0]) if sent else Absent(fencing=False)


@tool(verify=was_told, timeout=20)
def tell_customer(context: ToolContext, order_id: str, text: str) -> Any:
    """Write to the customer. A second call is a second message, so after a crash `was_told` is asked first."""
    return payments().post(context, "/messages", json={"order": order_id, "text": text})
