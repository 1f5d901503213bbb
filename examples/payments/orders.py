"""Orders made from their own id, so that every process knows the same ones without a table.

`large-…` costs more than the policy refunds without asking, `final-…` is not refundable, `missing-…` does
not exist, and anything else is small. A fault may ride on the id: `1001.late-3` is order 1001 whose first
refund is answered three seconds late.
"""

from typing import Any
from zlib import crc32

from examples.local_service.faults import Fault

CUSTOMERS = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Leslie", "Margaret", "Tony")
ITEMS = ("kettle", "desk lamp", "notebook", "headphones", "rain jacket", "chess set")


def find_order(order_id: str) -> dict[str, Any] | None:
    """The order with this id, the same each time; None for `missing-…`."""
    if order_id.startswith("missing-"):
        return None
    number = crc32(order_id.encode())
    cents = 15_000 + number % 75_000 if order_id.startswith("large-") else 500 + number % 9_000
    customer = CUSTOMERS[number % len(CUSTOMERS)]
    return {
        "id": order_id,
        "item": ITEMS[number % len(ITEMS)],
        "amount": cents / 100,
        "currency": "EUR",
        "customer": customer,
        "email": f"{customer.lower()}@example.com",
        "status": "delivered",
        "refundable": not order_id.startswith("final-"),
    }


def fault_on(order_id: str) -> Fault | None:
    """The fault that rides on an order id."""
    return Fault.from_text(order_id.partition(".")[2])
