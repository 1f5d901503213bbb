"""Large values are kept once, by their digest, and their digest stands in their place.

A value of more than `INLINE_VALUE_BYTES` goes to `aetheris_blob` under its tenant and the SHA-256 of its canonical
JSON. Where it would have stood, in the parts of events, inputs, results, arguments, recorded values and signals, stands
a `Kept`: `{"$blob": digest, "bytes": size}`. What an event commits to is the value itself, as ever.

`kept_apart` takes large values out of a turn on its way to the gate, which writes them in the same transaction;
`whole` puts them back where somebody wants to read them. A value that only looks like a `Kept` is kept apart too, so
that what is read as one always is one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any, TypeVar

from django.apps import apps

from runtime import chain
from runtime.conf import settings

JSON = Any
K = TypeVar("K")

MARK = "$blob"
MARK_IN_TEXT = f'"{MARK}"'
MOST_REMEMBERED = 1000
STAY_IN_PLACE = frozenset({"error"})
"""Parts that the gate looks into."""

_sent: dict[tuple[Any, str], None] = {}
"""By job, the digests of what this process has sent, the oldest first."""
_sent_lock = Lock()


class Kept(dict[str, Any]):
    """What stands in the place of a value that is kept apart."""

    @property
    def digest(self) -> str:
        return str(self[MARK])


def mark(value: JSON) -> JSON:
    """A value as it stands in a row, told apart from one that is whole."""
    return Kept(value) if type(value) is dict and MARK in value else value


# Reading


def whole(tenant: str, value: JSON) -> JSON:
    """The value itself, whether it is kept apart or not."""
    return get(tenant, [value.digest])[value.digest] if type(value) is Kept else value


def all_whole(tenant: str, values: Mapping[K, JSON]) -> dict[K, JSON]:
    """The same for many, in one query, or in none where nothing is kept apart."""
    digests = [value.digest for value in values.values() if type(value) is Kept]
    if not digests:
        return dict(values)
    found = get(tenant, digests)
    return {key: found[value.digest] if type(value) is Kept else value for key, value in values.items()}


def get(tenant: str, digests: Iterable[str]) -> dict[str, JSON]:
    """Blobs by digest. Raises `KeyError` with the digest of one that is not there."""
    wanted = set(digests)
    rows = apps.get_model("runtime", "Blob").objects.filter(tenant=tenant, digest__in=wanted)
    found = dict(rows.values_list("digest", "value"))
    for digest in wanted - found.keys():
        raise KeyError(f"blob {digest} of tenant {tenant}")
    return found


# Writing


def may_be_large(text: str) -> bool:
    """Whether a turn, as text, may hold a value to be kept apart: what nearly all turns are asked, so it is cheap."""
    return len(text) > settings().inline_value_bytes or MARK_IN_TEXT in text


def kept_apart(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of a turn with its large values among its `blobs`. The one that is given stays as it is."""
    taken = _Taken(dict(payload.get("blobs") or {}))
    light = {**payload, "ops": [taken.out_of(op) for op in payload["ops"]]}
    for name in ("submit", "result"):
        if name in payload:
            light[name] = taken.out_of(payload[name])
    if intent := (payload.get("claim") or {}).get("intent"):
        light["claim"] = {**payload["claim"], "intent": taken.out_of(intent)}
    if taken.blobs:
        _split(light, taken.blobs)
    return light


def _split(light: dict[str, Any], taken: Mapping[str, JSON]) -> None:
    """What this process has sent for the job before is named and not sent again: the gate looks whether it is there."""
    job = light.get("job")
    light["stored"] = [digest for digest in taken if (job, digest) in _sent]
    light["blobs"] = {digest: value for digest, value in taken.items() if (job, digest) not in _sent}


def were_sent(light: Mapping[str, Any]) -> None:
    """The turn happened: its blobs need not be sent again."""
    with _sent_lock:
        for digest in light.get("blobs") or ():
            _sent[light.get("job"), digest] = None
        while len(_sent) > MOST_REMEMBERED:
            del _sent[next(iter(_sent))]


def send_again() -> None:
    """The gate misses what was named as stored: a transaction around it did not commit."""
    with _sent_lock:
        _sent.clear()


class _Taken:
    """What was taken out of one turn: the same value once, however often it occurs."""

    def __init__(self, blobs: dict[str, JSON]) -> None:
        self.blobs = blobs
        self._seen: dict[int, JSON] = {}

    def out_of(self, op: Mapping[str, Any]) -> dict[str, Any]:
        light = dict(op)
        if "parts" in op:
            light["parts"] = {name: self._part(name, part) for name, part in op["parts"].items()}
        if "input" in op:
            light["input"] = self._value(op["input"])
        if op.get("op") == "effects":
            light["values"] = [{**one, "value": self._value(one["value"])} for one in op["values"]]
        return light

    def _part(self, name: str, part: dict[str, Any]) -> dict[str, Any]:
        if name in STAY_IN_PLACE:
            return part
        value = self._value(part["value"])
        return {**part, "value": value, "blob": value.digest} if type(value) is Kept else part

    def _value(self, value: JSON) -> JSON:
        if id(value) not in self._seen:
            self._seen[id(value)] = self._kept(value)
        return self._seen[id(value)]

    def _kept(self, value: JSON) -> JSON:
        size = len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
        if size <= settings().inline_value_bytes and not (type(value) is dict and MARK in value):
            return value
        digest = hashlib.sha256(chain.canonical(value)).hexdigest()
        self.blobs[digest] = value
        return Kept({MARK: digest, "bytes": size})
