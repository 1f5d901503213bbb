"""What is raised when a step breaks the contract, or does not replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.contract.findings import Finding
from runtime.exceptions import AetherisError, Permanent


class ContractViolated(Permanent):
    """A step does what the step contract forbids. `findings` say where, why, and what to do instead."""

    def __init__(self, step: str, findings: Sequence[Finding]) -> None:
        listed = "\n".join(f"  {finding}" for finding in findings)
        super().__init__(f"Step {step!r} breaks the step contract:\n{listed}")
        self.step = step
        self.findings = list(findings)

    def as_json(self) -> dict[str, Any]:
        """The error of a step that was refused."""
        return {
            "type": type(self).__name__,
            "message": self.message,
            "findings": [finding.as_json() for finding in self.findings],
        }


class ValidatorUnusable(AetherisError):
    """A path in `STEP_VALIDATORS` leads to nothing that validates."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"AETHERIS['STEP_VALIDATORS'] names {path!r}, which cannot be used: {reason}. "
            "Name a class with `validate(self, step)`."
        )
        self.path = path


class ReplayDiverged(AetherisError):
    """A step that was run again did something else. `position` counts its effects from 1."""

    def __init__(self, step: str, position: int, expected: str, got: str) -> None:
        where = f"at effect {position}" if position else "in its result"
        super().__init__(
            f"Step {step!r} does not replay: {where} the first run had {expected}, the second {got}. "
            "Take what changes from the context or the inputs."
        )
        self.step = step
        self.position = position
        self.expected = expected
        self.got = got


class ToolNotGiven(AetherisError):
    """The harness makes no call outside by itself."""

    def __init__(self, step: str, kind: str, name: str) -> None:
        ways = {
            "tool": f"tools={{{name!r}: lambda **arguments: …}}",
            "model": "model=lambda request: {'content': …}",
            "http": "http=lambda method, url: {'status': 200, 'body': …}",
        }
        super().__init__(
            f"Step {step!r} calls {kind} {name!r}, and the test says nothing of it. Pass `{ways[kind]}`."
        )
