"""Durations are written as people write them."""

from datetime import timedelta
from typing import Any

import pytest

from runtime.graph import seconds
from runtime.graph.durations import written as as_text


@pytest.mark.parametrize(
    ("written", "length"),
    [
        (30, 30),
        (0.5, 0.5),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1.5h", 5400),
        ("250ms", 0.25),
    ]
    + [("1w", 604800), (timedelta(minutes=2), 120)],
)
def test_durations(written: Any, length: float) -> None:
    assert seconds(written) == length


@pytest.mark.parametrize(
    "written",
    [
        0,
        -1,
        True,
        None,
        "",
        "30",
        "s",
        "1 h",
        "1y",
        "-5m",
        "1e3s",
        float("inf"),
        float("nan"),
        10**400,
        "9" * 12 + "d",
    ]
    + ["0s", [], "1h" * 40, "٣s"],
)
def test_what_is_no_duration_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(written)


@pytest.mark.parametrize("text", ["15m", "1h30m", "2d", "1d1s", "59s"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    assert as_text(timedelta(seconds=seconds(text))) == text
