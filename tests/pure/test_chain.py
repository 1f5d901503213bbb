"""A history proves itself: whatever is changed, left out, added or swapped in it is found."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import chain
from runtime.chain import GENESIS, Part, SealedEvent

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "rfc6962.json").read_text())
SALT = chain.salt(bytes(16))

History = tuple[list[SealedEvent], dict[int, list[Part]]]


def seal(header: dict[str, Any]) -> SealedEvent:
    written = chain.header_bytes(header)
    return SealedEvent(written, chain.digest(written))


def history(*facts: dict[str, Any], **parts: Part) -> History:
    """A good chain from what differs between its events; parts are given as `p2=Part(…)` for event 2."""
    held = {int(name[1:]): [part] for name, part in parts.items()}
    events: list[SealedEvent] = []
    for seq, fact in enumerate(facts, start=1):
        header: dict[str, Any] = {
            "at": f"2026-11-22T15:00:0{seq}.000000Z",
            "job": "j1",
            "log": "test",
            "tenant": "acme",
        }
        header |= {"seq": seq, "prev": events[-1].digest.hex() if events else GENESIS, "v": 1}
        header |= {"sd": sorted(part.commitment() for part in held.get(seq, ()))}
        events.append(seal(header | {"type": "note_added"} | fact))
    return events, held


def claimed(attempt: int, step: str = "refund") -> dict[str, Any]:
    return {"type": "step_claimed", "step": step, "attempt": attempt}


def codes(events: list[SealedEvent], parts: dict[int, list[Part]]) -> list[tuple[int, str]]:
    return [(problem.seq, problem.code) for problem in chain.verify(events, parts)]


@pytest.fixture
def good() -> History:
    return history(
        {"type": "job_submitted"},
        claimed(1),
        {"type": "tool_called", "step": "refund", "attempt": 1},
        claimed(2),
        p1=Part("input", {"order": 7, "amount": 12.5}, SALT),
        p3=Part("tool.arguments", {"order": 7}, SALT),
    )


def test_an_honest_history_has_no_problems(good: History) -> None:
    assert chain.verify(*good) == []


def test_each_byte_of_a_header_counts(good: History) -> None:
    events, parts = good
    for number, event in enumerate(events):
        for place in range(0, len(event.header), 7):
            changed = bytearray(event.header)
            changed[place] ^= 1
            forged = [*events]
            forged[number] = SealedEvent(bytes(changed), event.digest)
            assert (number + 1, "digest") in codes(forged, parts)


def test_a_header_with_a_fresh_digest_no_longer_links(good: History) -> None:
    events, parts = good
    header = json.loads(events[1].header) | {"attempt": 9}
    events[1] = seal(header)

    assert (3, "prev") in codes(events, parts)


def test_leaving_out_adding_and_swapping_are_found(good: History) -> None:
    events, parts = good

    assert codes(events[:1] + events[2:], parts)
    assert codes([events[0], *events], parts)
    assert codes([events[1], events[0], *events[2:]], parts)
    assert codes(events[1:], parts)


def test_the_end_can_only_be_missed_by_who_knows_its_digest(good: History) -> None:
    events, parts = good

    assert codes(events[:-1], parts) == []


def test_a_changed_part_is_found(good: History) -> None:
    events, parts = good
    parts[1] = [replace(parts[1][0], value={"order": 8, "amount": 12.5})]

    assert codes(events, parts) == [(1, "part_changed"), (1, "part_missing")]


def test_a_missing_part_is_not_an_erased_part(good: History) -> None:
    events, parts = good
    del parts[3]

    assert codes(events, parts) == [(3, "part_missing")]


def test_a_part_may_be_missing_if_somebody_erased_it() -> None:
    part = Part("input", {"name": "Ada"}, SALT)
    events, parts = history(
        {"type": "job_submitted"},
        {"type": "operator_acted", "data": {"erased": [part.commitment()]}},
        p1=part,
    )

    assert codes(events, {}) == []
    assert codes(events, parts) == [(1, "part_not_erased")]


def test_only_an_operator_erases() -> None:
    part = Part("input", {"name": "Ada"}, SALT)
    events, _ = history({}, {"type": "step_claimed", "data": {"erased": [part.commitment()]}}, p1=part)

    assert codes(events, {}) == [(1, "part_missing")]


def test_a_part_that_no_event_committed_to_is_found(good: History) -> None:
    events, parts = good

    assert codes(events, parts | {2: [Part("output", 1, SALT)]}) == [(2, "part_changed")]
    assert codes(events, parts | {9: [Part("output", 1, SALT)]}) == [(9, "part_changed")]


def test_a_decision_of_a_fenced_attempt_is_found() -> None:
    late = {"type": "step_completed", "step": "refund", "attempt": 1}
    events, _ = history(claimed(1), claimed(2), claimed(1, step="mail"), late)

    assert codes(events, {}) == [(4, "attempt")]


def test_evidence_may_come_late() -> None:
    late = {"type": "tool_returned", "step": "refund", "attempt": 1}
    events, _ = history(claimed(1), claimed(2), late)

    assert codes(events, {}) == []


@pytest.mark.parametrize(
    ("fact", "code"),
    [
        ({"at": "2026-11-22T14:00:00.000000Z"}, "time"),
        ({"job": "j2"}, "origin"),
        ({"tenant": "other"}, "origin"),
        ({"seq": 7}, "seq"),
        ({"causes": ["b", "a"]}, "causes"),
        ({"causes": [f"{number:064x}" for number in range(33)]}, "causes"),
        ({"sd": ["b", "b"]}, "sd"),
    ],
)
def test_what_cannot_be_is_found(fact: dict[str, Any], code: str) -> None:
    events, _ = history({}, fact)

    assert codes(events, {}) == [(2, code)]


@pytest.mark.parametrize(
    "header", [b"", b"[]", b"\xff", b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1,"a":1}', b"[" * 9000]
)
def test_a_header_that_is_not_canonical_is_found(header: bytes) -> None:
    assert codes([SealedEvent(header, chain.digest(header))], {}) == [(1, "header")]


def test_a_part_is_committed_to_in_the_form_of_rfc_9901() -> None:
    """Section 4.2.1 of the RFC, in its spelling without spaces; 4.2.3 for the digest of a disclosure."""
    part = Part("family_name", "Möbius", "_26bc4LT-ac6q2KI6cBW5es")

    assert part.disclosure() == "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsImZhbWlseV9uYW1lIiwiTcO2Yml1cyJd"
    assert part.commitment() == chain.commitment_of(part.disclosure())

    with_spaces = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0"
    assert chain.commitment_of(with_spaces) == "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"


def test_a_salt_is_128_bits() -> None:
    assert chain.salt(b"\xff" * 16) == "_____________________w"
    with pytest.raises(ValueError):
        chain.salt(b"short")


@given(st.text(max_size=3), st.integers(), st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
def test_the_same_value_under_another_salt_looks_different(name: str, value: int, one: int, two: int) -> None:
    first, second = (Part("n", value, chain.salt(bits.to_bytes(16, "big"))) for bits in (one, two))

    assert (first.commitment() == second.commitment()) == (one == two)


def test_the_published_merkle_hashes() -> None:
    hasher = VECTORS["hasher"]

    assert chain.root_hash([]).hex() == hasher["empty_root"]
    assert chain.leaf_hash(b"").hex() == hasher["leaf('')"]
    assert chain.leaf_hash(b"L123456").hex() == hasher["leaf('L123456')"]
    assert chain.node_hash(b"N123", b"N456").hex() == hasher["node('N123','N456')"]


@pytest.mark.parametrize("size", range(9))
def test_the_published_merkle_roots(size: int) -> None:
    leaves = [chain.leaf_hash(bytes.fromhex(text)) for text in VECTORS["leaf_inputs_hex"][:size]]

    assert [leaf.hex() for leaf in leaves] == VECTORS["node_hashes"][0][:size]
    assert chain.root_hash(leaves).hex() == VECTORS["roots_by_size"][size]
