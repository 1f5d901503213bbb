"""What a model call cost, in millionths of the prices' currency: whole numbers, which headers can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

Prices = Mapping[str, Mapping[str, Any]]
"""By model: what a million tokens cost as `input`, `cached` (else as input) and `output`."""
KINDS = ("input", "cached", "output")


def cost_micros(prices: Prices, models: Iterable[str | None], usage: Mapping[str, int]) -> int | None:
    """The cost of `input_tokens`, of which `cached_tokens` were cached, and `output_tokens`.

    The first of `models` that has a price counts. None without a price, or without a count of tokens.
    """
    price = next((prices[model] for model in models if model and model in prices), None)
    if price is None or "input_tokens" not in usage or "output_tokens" not in usage:
        return None
    cached = min(usage.get("cached_tokens", 0), usage["input_tokens"])
    # A price for a million tokens is a price in millionths for one.
    cost = (
        (usage["input_tokens"] - cached) * Decimal(price["input"])
        + cached * Decimal(price.get("cached", price["input"]))
        + usage["output_tokens"] * Decimal(price["output"])
    )
    return int(cost.to_integral_value(ROUND_HALF_UP))


def faults(prices: Any) -> list[str]:
    """What is wrong with a table of prices."""
    if not isinstance(prices, Mapping):
        return ["it must map models to prices"]
    return [f"{model!r}: {wrong}" for model, price in prices.items() if (wrong := _fault(price))]


def _fault(price: Any) -> str | None:
    if not isinstance(price, Mapping) or not {"input", "output"} <= price.keys() <= set(KINDS):
        return "needs input and output, and may have cached"
    for kind, amount in price.items():
        try:
            if isinstance(amount, float) or not 0 <= Decimal(amount) < 1_000_000:
                return f"{kind} must be a Decimal, or a text such as '2.50'"
        except (InvalidOperation, TypeError, ValueError):
            return f"{kind} is no number: {amount!r}"
    return None
