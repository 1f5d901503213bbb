"""One intended call: whom it goes to, with what, and the key by which the outside knows it again."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from runtime import chain
from runtime.callees import Callee
from runtime.grants import APPROVAL, Grant
from runtime.states import EntryState
from runtime.turn import facts, part
from runtime.values import check, check_text

NAMESPACE = uuid5(NAMESPACE_URL, "https://aetheris.invalid/ledger")
LONGEST_NAME = 200

JSON = Any


@dataclass(frozen=True)
class Intent:
    """One intended call of one step. Its key is the same on every attempt and every machine."""

    step_id: int
    step_key: str
    call: str
    callee: Callee
    arguments: JSON
    idempotency_key: UUID
    generation: int = 0
    grant: Grant = Grant()
    """What was decided of it, and by whom."""
    made: float = field(default_factory=lambda: time.monotonic(), compare=False)
    """By the monotonic clock, before `started` is written: the time to send ends no later than the ledger thinks."""

    @classmethod
    def make(
        cls,
        tenant: str,
        job_id: UUID,
        step_id: int,
        step_key: str,
        call: str,
        callee: Callee,
        arguments: JSON,
        generation: int = 0,
    ) -> Intent:
        """Raises `InputInvalid` for what a row cannot hold."""
        check_text(call, f"{step_key} name of a call", LONGEST_NAME)
        check_text(callee.name, f"{step_key} name of a {callee.kind}", LONGEST_NAME)
        check(arguments, f"{step_key}.inputs")
        key = uuid5(NAMESPACE, f"{tenant}/{job_id}/{step_key}/{call}/{generation}")
        return cls(step_id, step_key, call, callee, arguments, key, generation)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(chain.canonical([self.callee.name, self.arguments])).hexdigest()

    @property
    def name(self) -> str:
        return f"{self.call}#{self.generation}"

    @property
    def entry(self) -> dict[str, Any]:
        return {"step": self.step_id, "key": self.step_key, "call": self.call, "generation": self.generation}

    def as_operation(self, attempt: int | None = None) -> dict[str, Any]:
        policy = self.callee.policy
        reserved = self.grant.decision == APPROVAL
        state = (EntryState.RESERVED if reserved else EntryState.STARTED).value
        data = {
            **{k: v for k, v in self.entry.items() if k in ("call", "generation")},
            "entry": state,
            "idempotency_key": str(self.idempotency_key),
            "name": self.callee.name,
            **({"grant": self.grant.by} if self.grant.by else {}),
        }
        operation: dict[str, Any] = {
            **self.entry,
            "kind": self.callee.kind,
            "name": self.callee.name,
            "state": state,
            "fingerprint": self.fingerprint,
            "idempotency_key": str(self.idempotency_key),
            "type": "tool_reserved" if reserved else self.callee.called_event,
            "policy": {
                **({"grant": self.grant.as_json()} if self.grant.by else {}),
                "read_only": policy.read_only,
                "idempotent": policy.idempotent,
                "timeout": policy.timeout,
                "key_window": policy.key_window.total_seconds() if policy.key_window else None,
                **({"compensate": undoing} if (undoing := self.callee.compensation) else {}),
            },
            **facts(data, [part(self.callee.arguments_part, self.arguments)]),
        }
        if self.callee.provider:
            operation["provider"] = self.callee.provider
        if attempt is not None:
            operation["attempt"] = attempt
        return operation
