"""What comes in from outside is JSON that we can store, prove and read back, or is refused with its place."""

import json
import math
import time
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import strict_json
from runtime.strict_json import InvalidValue

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abé𝄞\ue000", max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)

PATIENCE = 20
"""Seconds of work; a second is what it takes, and what is not linear takes minutes."""


@given(VALUES)
def test_what_json_writes_is_read_back_as_it_was(value: Any) -> None:
    for ascii_only in (True, False):
        assert strict_json.loads(json.dumps(value, ensure_ascii=ascii_only)) == value
    assert strict_json.check(value) == len(
        json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    )


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "a", "'b' stands there twice"),
        ('[{"a": 1, "a": 1}]', "[0]", "'a' stands there twice"),
        ('{"a": [1, NaN]}', "", "NaN"),
        ("-Infinity", "", "-Infinity"),
        ("[1e999]", "[0]", "inf"),
        ("[" + "9" * 400 + "]", "[0]", "inf"),
        ("[" + "9" * 309 + "]", "[0]", "too large"),
        ("9" * 100_000, "", "inf"),
        ('{"items": [0, {"name": "a\\u0000b"}]}', "items[1].name", "NUL"),
        ('{"a\\u0000": 1}', "", "key that holds a NUL"),
        ('{"a": "\\ud800"}', "a", "surrogate"),
        ('{"a": "\\udc00\\ud800"}', "a", "surrogate"),
        ('"\ud800"', "", "not UTF-8"),
        (b'"\xff"', "", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "", "not JSON"),
        ("", "", "not JSON"),
        ("{} {}", "", "not JSON"),
        ('"a\0b"', "", "not JSON"),
        ("]" * 100 + "[" * 100, "", "not JSON"),
    ],
)
def test_bad_text_is_refused_with_its_place(text: str | bytes, path: str, reason: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        strict_json.loads(text)

    assert refused.value.path == path
    assert reason in refused.value.reason


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert strict_json.loads('"\\ud834\\udd1e"') == "𝄞"


@pytest.mark.parametrize("levels", [65, 5_000, 1_000_000])
@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_deep_nesting_costs_no_more_than_the_answer(levels: int, opening: str) -> None:
    began = time.thread_time()

    with pytest.raises(InvalidValue, match="nests deeper than 64 levels"):
        strict_json.loads(opening * levels, max_bytes=100_000_000)

    assert time.thread_time() - began < PATIENCE


def test_brackets_in_texts_do_not_count() -> None:
    text = json.dumps({"a": "[" * 1000 + '\\"{' * 1000})

    assert strict_json.loads(text) == json.loads(text)


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 200_000 + "[" * 100, '["' * 100 + "\\" * 200_001, '"\\' * 300_000]
)
def test_texts_without_an_end_are_refused_in_linear_time(text: str) -> None:
    began = time.thread_time()

    with pytest.raises(InvalidValue):
        strict_json.loads(text)

    assert time.thread_time() - began < PATIENCE


def test_size_is_counted_in_bytes() -> None:
    assert strict_json.loads('"éé"', max_bytes=6) == "éé"
    with pytest.raises(InvalidValue, match="6 bytes; the limit is 5"):
        strict_json.loads('"éé"', max_bytes=5)
    with pytest.raises(InvalidValue, match="6 bytes of JSON; the limit is 5"):
        strict_json.check("éé", max_bytes=5)


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _laughs() -> Any:
    value: Any = ["lol"]
    for _ in range(60):
        value = [value] * 10
    return value


def _endless() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (
            {"items": [{}, {"when": datetime(2026, 1, 1)}]},
            "input.items[1].when",
            "is a datetime, which is not JSON",
        ),
        ({"a": (1, 2)}, "input.a", "use a list"),
        ({"a": b"x"}, "input.a", "bytes"),
        ({"a": {1: 2}}, "input.a", "has the key 1"),
        ({"a": math.nan}, "input.a", "nan"),
        ([-math.inf], "input[0]", "inf"),
        ({"a": ["\0"]}, "input.a[0]", "NUL"),
        ("\udfff", "input", "surrogate"),
        ({"a": {"\ud800": 1}}, "input.a", "key that holds half of a surrogate pair"),
        (_nested(65), "input", "nests deeper"),
        (_nested(200_000), "input", "nests deeper"),
        (_endless(), "input", "nests deeper"),
        (_laughs(), "input", "larger than the limit"),
        ({"a": "x" * 1_000_000}, "input", "1000008 bytes of JSON"),
    ],
)
def test_bad_values_are_refused_with_their_place(value: Any, path: str, reason: str) -> None:
    began = time.thread_time()

    with pytest.raises(InvalidValue) as refused:
        strict_json.check(value, "input")

    assert refused.value.path == path
    assert reason in refused.value.reason
    assert time.thread_time() - began < PATIENCE
