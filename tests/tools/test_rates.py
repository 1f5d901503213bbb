"""Rates and concurrency, as a tool declares them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import Policy, registry, tool
from tools.rates import Rate


@pytest.mark.parametrize(
    ("text", "count", "seconds"),
    [("10/s", 10, 1), ("100/m", 100, 60), ("5/10s", 5, 10), ("1/2h", 1, 7200), ("3/d", 3, 86400)],
)
def test_a_rate_is_a_count_for_a_time(text: str, count: int, seconds: int) -> None:
    assert Rate.parse(text) == Rate(count, timedelta(seconds=seconds))


@given(st.integers(1, 10**6), st.integers(1, 10**5))
def test_a_rate_reads_what_it_writes(count: int, seconds: int) -> None:
    rate = Rate(count, timedelta(seconds=seconds))
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize(
    "text", ["", "10", "0/s", "10/", "/s", "-1/s", "1.5/s", "10/0s", "10/w", "10 / s", "١/s"]
)
def test_what_is_no_rate_says_how_one_looks(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        Rate.parse(text)


def test_a_tool_declares_its_limits() -> None:
    def paint(colour: str) -> str:
        return colour

    before = registry.registered()
    try:
        policy = tool(name="limited", rate="10/s", max_concurrency=4)(paint).policy
    finally:
        registry._tools.clear()
        registry._tools.update(before)
    assert (policy.rate, policy.max_concurrency) == (Rate(10, timedelta(seconds=1)), 4)
    assert (Policy().rate, Policy().max_concurrency) == (None, None)


def test_a_limit_of_no_calls_at_once_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Policy(max_concurrency=0)
