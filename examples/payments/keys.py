"""What `Idempotency-Key` means: the first request with a key acts, the others learn what it did."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from examples.local_service.http import Rejected
from examples.payments.effects import Effect, EffectFile


class Keys:
    """The keys of one kind of effect. A key without an effect is free again once its request has ended."""

    def __init__(self, effects: EffectFile, kind: str) -> None:
        self._effects = effects
        self._kind = kind
        self._lock = Lock()
        self._in_flight: set[str] = set()
        self._used = {effect.key: effect for effect in effects.find(kind) if effect.key}
        self._closed = {effect.key for effect in effects.find("closed")}

    @contextmanager
    def held(self, key: str | None, body: dict[str, Any]) -> Iterator[Effect | None]:
        """Hold a key for one request; yields its effect. 409 in flight, 410 closed, 422 another body."""
        if key is None:
            yield None
            return
        effect = self._take(key, body)
        try:
            yield effect
        finally:
            self._let_go(key)

    def act(self, key: str | None, body: dict[str, Any]) -> Effect:
        """Write the effect; from here a second request with the key is answered with it."""
        effect = self._effects.add(self._kind, body, key)
        if key is not None:
            with self._lock:
                self._used[key] = effect
                self._in_flight.discard(key)
        return effect

    def close(self, key: str) -> Effect | None:
        """What happened with a key, and if nothing did, the promise that nothing will."""
        with self._lock:
            self._refuse_in_flight(key)
            if key not in self._used and key not in self._closed:
                self._effects.add("closed", {}, key)
                self._closed.add(key)
            return self._used.get(key)

    def _take(self, key: str, body: dict[str, Any]) -> Effect | None:
        with self._lock:
            if key in self._closed:
                raise Rejected(410, f"The key {key} was closed; nothing was done.")
            self._refuse_in_flight(key)
            effect = self._used.get(key)
            if effect is None:
                self._in_flight.add(key)
            elif effect.body != body:
                raise Rejected(422, f"The key {key} was used with another body.")
            return effect

    def _let_go(self, key: str) -> None:
        with self._lock:
            self._in_flight.discard(key)

    def _refuse_in_flight(self, key: str) -> None:
        if key in self._in_flight:
            raise Rejected(409, f"A request with the key {key} is still being processed.", Retry_After="1")
