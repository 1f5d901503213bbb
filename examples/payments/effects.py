"""The file of effects: one JSON line for each thing that happened, on disk before anybody is told."""

import json
import os
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4


@dataclass(frozen=True)
class Effect:
    """Something that happened, or (kind `closed`) the promise that a key will never be used."""

    id: str
    kind: str
    key: str | None
    order: str | None
    amount: float | None
    body: dict[str, Any]
    at: str


class EffectsUnreadable(Exception):
    """The file has a line that this service did not write."""

    def __init__(self, path: Path, line: int) -> None:
        super().__init__(f"{path}, line {line}, is not an effect. Move the file away to start anew.")


class EffectFile:
    """All effects, in memory and in the file; survives `kill -9` at any moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._effects: list[Effect] = []
        self._by: dict[tuple[str, str | None], list[Effect]] = defaultdict(list)
        for effect in self._read():
            self._remember(effect)

    def add(self, kind: str, body: dict[str, Any], key: str | None) -> Effect:
        """Write an effect; it has happened when this returns."""
        effect = Effect(
            id=f"{kind}_{uuid4().hex}",
            kind=kind,
            key=key,
            order=body.get("order"),
            amount=body.get("amount"),
            body=body,
            at=datetime.now(UTC).isoformat(),
        )
        with self._lock:
            os.write(self._fd, json.dumps(asdict(effect)).encode() + b"\n")
            os.fsync(self._fd)
            self._remember(effect)
        return effect

    def find(self, kind: str | None = None, key: str | None = None, order: str | None = None) -> list[Effect]:
        """Effects of this kind, key and order; None means any."""
        with self._lock:
            field, value = ("key", key) if key is not None else ("order", order)
            candidates = tuple(self._effects if value is None else self._by.get((field, value), ()))
        return [
            effect
            for effect in candidates
            if kind in (None, effect.kind) and key in (None, effect.key) and order in (None, effect.order)
        ]

    def counts(self) -> dict[str, Any]:
        """How many effects there are, by key and by order."""
        effects = [effect for effect in self.find() if effect.kind != "closed"]
        by_order: dict[str, Counter[str]] = defaultdict(Counter)
        for effect in effects:
            by_order[effect.order or ""][effect.kind] += 1
        return {
            "total": len(effects),
            "by_kind": Counter(effect.kind for effect in effects),
            "by_key": Counter(effect.key or "" for effect in effects),
            "by_order": by_order,
        }

    def close(self) -> None:
        os.close(self._fd)

    def _remember(self, effect: Effect) -> None:
        self._effects.append(effect)
        self._by["key", effect.key].append(effect)
        self._by["order", effect.order].append(effect)

    def _read(self) -> list[Effect]:
        text = self._path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            # A line without an end was never acknowledged.
            os.ftruncate(self._fd, whole)
        return [self._parse(line, number) for number, line in enumerate(text[:whole].splitlines(), 1)]

    def _parse(self, line: bytes, number: int) -> Effect:
        try:
            return Effect(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise EffectsUnreadable(self._path, number) from error
