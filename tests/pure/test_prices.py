"""What a model call costs."""

from decimal import Decimal
from typing import Any

import pytest

from runtime.prices import cost_micros, faults

PRICES: Any = {
    "small": {"input": "0.15", "cached": "0.075", "output": Decimal("0.60")},
    "plain": {"input": 1, "output": 2},
}


@pytest.mark.parametrize(
    ("models", "usage", "cost"),
    [
        (["small"], {"input_tokens": 1_000_000, "output_tokens": 0}, 150_000),
        (["small"], {"input_tokens": 1000, "cached_tokens": 1000, "output_tokens": 0}, 75),
        (["small"], {"input_tokens": 10, "output_tokens": 0}, 2),
        (["small"], {"input_tokens": 1, "cached_tokens": 9, "output_tokens": 0}, 0),
        (["plain"], {"input_tokens": 10, "cached_tokens": 5, "output_tokens": 5}, 20),
        (["small-2024", "small"], {"input_tokens": 0, "output_tokens": 10}, 6),
        ([None, "plain"], {"input_tokens": 0, "output_tokens": 10}, 20),
        (["unheard"], {"input_tokens": 1, "output_tokens": 1}, None),
        (["plain"], {"input_tokens": 1}, None),
        (["plain"], {}, None),
    ],
)
def test_tokens_have_their_price(models, usage, cost):
    assert cost_micros(PRICES, models, usage) == cost


@pytest.mark.parametrize(
    "price",
    [{}, {"input": "1"}, {"input": "1", "output": 0.5}, {"input": "1", "output": "x"}, {"input": "-1", "output": "1"},
     {"input": "1", "output": "NaN"}, {"input": "1", "output": "1", "other": "1"}, 7],
)  # fmt: skip
def test_a_price_that_is_none_is_told(price):
    assert [fault.partition(":")[0] for fault in faults({"m": price})] == ["'m'"]


def test_good_prices_have_no_fault():
    assert faults(PRICES) == []
