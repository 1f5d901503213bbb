"""A payload's commitment holds for what PostgreSQL gives back, whatever form its numbers were stored in."""

import json
import random
import struct
from typing import Any

import pytest
from django.db import connection

from runtime import chain


def _numbers() -> list[Any]:
    draw = random.Random(9901)
    doubles = [struct.unpack(">d", draw.randbytes(8))[0] for _ in range(3000)]
    edges = [0.0, -0.0, 1.0, 1e15, 1e16, 1e21, 1e30, 1e-7, 5e-324, 1.7976931348623157e308, 2.0**60, 0.1]
    whole = [draw.randrange(-(2**200), 2**200) >> draw.randrange(200) for _ in range(500)]
    return [*edges, *whole, 2**53, 2**60, 10**30, *(one for one in doubles if one - one == 0)]


@pytest.mark.django_db
@pytest.mark.pg_slice
def test_numbers_keep_their_canonical_form_through_jsonb() -> None:
    numbers = _numbers()
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps(numbers)])
        stored = json.loads(cursor.fetchone()[0])

    changed = [
        (before, after)
        for before, after in zip(numbers, stored, strict=True)
        if chain.canonical(before) != chain.canonical(after)
    ]
    assert changed == []


@pytest.mark.django_db
@pytest.mark.pg_slice
def test_a_part_still_answers_to_its_commitment_after_storage() -> None:
    value = {
        "z": [1.0, 1e30, 2**60, {"é𝄞": '\u007f\n\\"', "\ue000": None}],
        "a": True,
        "": {},
        "amount": 120.50,
    }
    part = chain.Part("tool.result", value, chain.salt(bytes(range(16))))
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps(value)])
        stored = json.loads(cursor.fetchone()[0])

    assert chain.Part(part.name, stored, part.salt).commitment() == part.commitment()
