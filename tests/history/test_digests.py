"""The checker's own canonical JSON and commitments: the published cases, and what the product makes of anything."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import chain
from tests.history.checker import digests
from tests.pure.test_canonical import FLOATS, KEYS, TEXTS, VECTORS, trees


@pytest.mark.parametrize("name", VECTORS["cases"])
def test_the_published_examples(name):
    case = VECTORS["cases"][name]
    assert digests.canonical(json.loads(case["input"])).encode().hex() == case["output_hex"]


@pytest.mark.parametrize(("bits", "text"), [case for case in VECTORS["numbers"] if case[1] is not None])
def test_the_published_numbers(bits, text):
    assert digests.canonical(struct.unpack(">d", bytes.fromhex(bits))[0]) == text


@given(trees(st.none() | st.booleans() | st.integers() | FLOATS | TEXTS, KEYS))
def test_both_implementations_commit_to_the_same(value: Any):
    part = chain.Part("p", value, "AAAAAAAAAAAAAAAAAAAAAA")
    assert digests.commitment(part.salt, part.name, part.value) == part.commitment()
