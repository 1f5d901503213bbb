"""Canonical JSON, digests, commitments and their verification: pure, so that anyone can check them again.

An event's header is hashed as its stored bytes; `prev` in each header is the digest before it, so one
digest stands for the whole history. Payloads are not in the header, only salted commitments to them:
one can be withheld or erased and everything else still verifies.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import rfc8785

from runtime import strict_json
from runtime.strict_json import InvalidValue

GENESIS = "0" * 64
MOST_EXACT = 2**53 - 1
MOST_CAUSES = 32
HEADER_DEPTH = 16
HEADER_BYTES = 1_000_000

# Late evidence from the attempt that made a call is welcome, and what a step left open is closed in its name when the
# step ends; the fence guards decisions.
EVIDENCE = frozenset(
    {
        "tool_cancelled",
        "tool_accepted",
        "tool_returned",
        "tool_failed",
        "tool_unknown",
        "tool_reconciled",
        "model_returned",
    }
)


# Canonical JSON


def canonical(value: Any) -> bytes:
    """The value in the form of RFC 8785.

    One addition: a whole number that no double holds exactly, for which RFC 8785 has no form, is
    written as its digits. So what PostgreSQL gives back for a stored number has the bytes of what went in.
    """
    if _json_agrees(value):
        return _dumps(value).encode()
    return _write(value).encode()


def header_bytes(header: Mapping[str, Any]) -> bytes:
    """The bytes of an event header, which are what is stored and hashed.

    Only objects with ASCII keys, lists, texts and whole numbers within ±(2^53−1); for these, sorted
    and compact JSON is RFC 8785. Raises InvalidValue for anything else.
    """
    _refuse_inexact(header, "")
    return _dumps(header).encode()


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _json_agrees(value: Any) -> bool:
    """Whether `json` writes what RFC 8785 asks for: it differs in floats and in sorting beyond the surrogates."""
    if value is None or isinstance(value, (str, bool)):
        return True
    if isinstance(value, int):
        return -MOST_EXACT <= value <= MOST_EXACT
    if isinstance(value, float):
        return 1e-4 <= abs(value) < 1e16 and not value.is_integer()
    if isinstance(value, list):
        return all(map(_json_agrees, value))
    if isinstance(value, dict):
        return all(map(_sorts_alike, value)) and all(map(_json_agrees, value.values()))
    raise InvalidValue("", f"a {type(value).__name__} has no canonical JSON")


def _sorts_alike(key: Any) -> bool:
    if not isinstance(key, str):
        raise InvalidValue("", f"the key {key!r} is not a text")
    return key.isascii() or max(key) < "\ud800"


def _write(value: Any) -> str:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{_dumps(key)}:{_write(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_write, value)) + "]"
    if isinstance(value, float):
        return rfc8785.dumps(value).decode()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MOST_EXACT:
        return _large(value)
    return _dumps(value)


def _large(number: int) -> str:
    """As the double of these digits if there is one, so that 1e30 and 10**30 are one number."""
    try:
        double = float(number)
    except OverflowError as error:
        raise InvalidValue("", "a whole number beyond the range of doubles has no canonical JSON") from error
    return rfc8785.dumps(double).decode() if Decimal(repr(double)) == number else str(number)


def _refuse_inexact(value: Any, path: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not (isinstance(key, str) and key.isascii()):
                raise InvalidValue(path, f"the key {key!r} is not ASCII text")
            _refuse_inexact(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _refuse_inexact(item, f"{path}[{number}]")
    elif isinstance(value, bool) or not isinstance(value, (str, int)):
        raise InvalidValue(path, f"a header holds no {type(value).__name__}")
    elif isinstance(value, int) and abs(value) > MOST_EXACT:
        raise InvalidValue(path, f"{value} is beyond ±(2^53−1)")


# Digests: RFC 6962, so that a digest in the chain is also the leaf of a Merkle tree


def digest(header: bytes) -> bytes:
    """The digest of an event: the RFC 6962 leaf hash of its header bytes."""
    return hashlib.sha256(b"\x00" + header).digest()


leaf_hash = digest


def node_hash(left: bytes, right: bytes) -> bytes:
    """The RFC 6962 hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_hash(leaves: Sequence[bytes]) -> bytes:
    """The RFC 6962 root over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    full: list[tuple[int, bytes]] = []  # perfect subtrees, largest first
    for leaf in leaves:
        height, right = 0, leaf
        while full and full[-1][0] == height:
            right = node_hash(full.pop()[1], right)
            height += 1
        full.append((height, right))
    root = full.pop()[1]
    while full:
        root = node_hash(full.pop()[1], root)
    return root


# Commitments: RFC 9901


@dataclass(frozen=True, slots=True)
class Part:
    """A payload of an event. `salt` is the base64url text of 128 random bits, new for each part."""

    name: str
    value: Any
    salt: str

    def disclosure(self) -> str:
        """What is handed over to reveal this part: base64url of `[salt, name, value]`."""
        return _base64url(canonical([self.salt, self.name, self.value]))

    def commitment(self) -> str:
        """What the header holds in `sd`: base64url of the SHA-256 of the disclosure."""
        return commitment_of(self.disclosure())


def commitment_of(disclosure: str) -> str:
    """The commitment that a disclosure answers to, whoever wrote it."""
    return _base64url(hashlib.sha256(disclosure.encode("ascii")).digest())


def salt(random: bytes) -> str:
    """The text of 16 random bytes as a salt."""
    if len(random) != 16:
        raise ValueError(f"a salt is made of 16 bytes, not {len(random)}")
    return _base64url(random)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


# Verification


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """An event as stored: the exact header bytes and their digest."""

    header: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a history. `seq` is the place at which the event should stand, counted from 1."""

    seq: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"event {self.seq}: {self.message}"


def verify(events: Iterable[SealedEvent], parts: Mapping[int, Iterable[Part]]) -> list[Problem]:
    """Every fault in the whole history of one job; `parts` holds the present payloads by `seq`."""
    check = _Verification()
    for seq, event in enumerate(events, start=1):
        check.event(seq, event)
    check.payloads(parts)
    return check.problems


class _Verification:
    """One pass over a chain. Remembers what a later event is held against."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.previous = GENESIS
        self.origin: dict[str, Any] = {}
        self.at = ""
        self.attempts: dict[str, int] = {}
        self.commitments: dict[int, list[str]] = {}
        self.erased: set[str] = set()

    def report(self, seq: int, code: str, message: str) -> None:
        self.problems.append(Problem(seq, code, message))

    def event(self, seq: int, event: SealedEvent) -> None:
        actual = digest(event.header)
        if actual != event.digest:
            self.report(seq, "digest", f"its digest is {event.digest.hex()}, its header has {actual.hex()}")
        if (header := self._read(seq, event.header)) is not None:
            self._look_at_link(seq, header)
            self._look_at_attempt(seq, header)
            self._remember(seq, header)
        self.previous = actual.hex()

    def payloads(self, parts: Mapping[int, Iterable[Part]]) -> None:
        for seq in sorted(self.commitments.keys() | parts.keys()):
            committed = set(self.commitments.get(seq, ()))
            present = set()
            for part in parts.get(seq, ()):
                commitment = part.commitment()
                present.add(commitment)
                if commitment not in committed:
                    self.report(seq, "part_changed", f"its part {part.name!r} is not what it committed to")
                elif commitment in self.erased:
                    self.report(seq, "part_not_erased", f"its part {part.name!r} is said to be erased")
            for commitment in sorted(committed - present - self.erased):
                self.report(seq, "part_missing", f"a part is missing that nobody erased: {commitment}")

    def _read(self, seq: int, header: bytes) -> dict[str, Any] | None:
        try:
            value = strict_json.loads(header, max_bytes=HEADER_BYTES, max_depth=HEADER_DEPTH)
            if not isinstance(value, dict):
                raise InvalidValue("", "is not an object")
            if header_bytes(value) != header:
                raise InvalidValue("", "is not canonical")
        except InvalidValue as error:
            self.report(seq, "header", f"its header cannot be read: {error}")
            return None
        return value

    def _look_at_link(self, seq: int, header: dict[str, Any]) -> None:
        if header.get("seq") != seq:
            self.report(seq, "seq", f"it says that it is event {header.get('seq')}")
        if header.get("prev") != self.previous:
            self.report(seq, "prev", f"it follows {header.get('prev')}, but before it stands {self.previous}")
        for key in ("tenant", "job", "log"):
            if header.get(key) != self.origin.setdefault(key, header.get(key)):
                self.report(seq, "origin", f"its {key} is {header.get(key)}, not {self.origin[key]}")
        at = str(header.get("at", ""))
        if at < self.at:
            self.report(seq, "time", f"it happened at {at}, before {self.at}")
        self.at = max(self.at, at)

    def _look_at_attempt(self, seq: int, header: dict[str, Any]) -> None:
        step, attempt = header.get("step"), header.get("attempt")
        if not isinstance(step, str) or not isinstance(attempt, int) or header.get("type") in EVIDENCE:
            return
        highest = self.attempts.get(step, 0)
        if attempt < highest:
            self.report(seq, "attempt", f"attempt {attempt} of {step!r} decided after attempt {highest}")
        self.attempts[step] = max(highest, attempt)

    def _remember(self, seq: int, header: dict[str, Any]) -> None:
        for key, most in (("sd", None), ("causes", MOST_CAUSES)):
            listed = header.get(key, [])
            if not _is_sorted_texts(listed) or (most is not None and len(listed) > most):
                self.report(seq, key, f"its {key} is not a sorted list of digests")
                return
        self.commitments[seq] = header.get("sd", [])
        data = header.get("data")
        if header.get("type") == "operator_acted" and isinstance(data, dict):
            erased = data.get("erased", [])
            self.erased.update(erased if _is_sorted_texts(erased) else ())


def _is_sorted_texts(value: Any) -> bool:
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return texts and all(one < two for one, two in pairwise(value))
