"""Canonical JSON is RFC 8785, and the short way of writing it is the long way."""

import json
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from runtime import chain
from runtime.strict_json import InvalidValue

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "rfc8785.json").read_text())

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KEYS = TEXTS | st.text("a\ud7ff\ue000\uffff𝄞", max_size=3)
EXACT = st.integers(-(2**53) + 1, 2**53 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def trees(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
        max_leaves=12,
    )


HEADERS = st.dictionaries(
    st.text(st.characters(max_codepoint=127), max_size=6),
    trees(EXACT | TEXTS, st.text(st.characters(max_codepoint=127), max_size=6)),
    max_size=6,
)


@pytest.mark.parametrize("name", VECTORS["cases"])
def test_the_published_examples(name: str) -> None:
    case = VECTORS["cases"][name]

    assert chain.canonical(json.loads(case["input"])).hex() == case["output_hex"]


@pytest.mark.parametrize(("bits", "text"), VECTORS["numbers"])
def test_the_published_numbers(bits: str, text: str | None) -> None:
    number = struct.unpack(">d", bytes.fromhex(bits))[0]

    if text is None:
        with pytest.raises(ValueError):
            chain.canonical(number)
    else:
        assert chain.canonical(number).decode() == text


@given(trees(st.none() | st.booleans() | EXACT | FLOATS | TEXTS, KEYS))
def test_canonical_is_rfc_8785(value: Any) -> None:
    assert chain.canonical(value) == rfc8785.dumps(value)


@given(FLOATS | st.integers(-(2**200), 2**200))
def test_a_number_keeps_its_form_through_a_decimal_column(number: float) -> None:
    """PostgreSQL stores 1e30 as the whole number that these digits name, and gives that back."""
    written = chain.canonical(number)
    stored = f"{_decimal(number):f}"

    assert chain.canonical(json.loads(stored)) == written


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))


@given(st.integers(2**53, 2**200), st.integers(1, 2**60))
def test_two_whole_numbers_never_look_alike(number: int, distance: int) -> None:
    assert chain.canonical(number) != chain.canonical(number + distance)


@given(HEADERS)
def test_header_bytes_are_canonical(header: dict[str, Any]) -> None:
    assert chain.header_bytes(header) == rfc8785.dumps(header) == chain.canonical(header)


@pytest.mark.parametrize(
    ("header", "path"),
    [
        ({"data": {"cost": 1.5}}, "data.cost"),
        ({"data": {"ok": True}}, "data.ok"),
        ({"data": [1, None]}, "data[1]"),
        ({"data": {"größe": 1}}, "data"),
        ({"seq": 2**53}, "seq"),
        ({"seq": -(2**53)}, "seq"),
        ({"at": b"now"}, "at"),
        ({1: "a"}, ""),
    ],
)
def test_a_header_holds_only_what_every_language_writes_alike(header: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        chain.header_bytes(header)

    assert refused.value.path == path


@pytest.mark.parametrize("value", [{1: 2}, (1,), b"x", {"a": {2}}, 2**1024, float("nan")])
def test_what_is_not_json_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(ValueError):
        chain.canonical(value)
