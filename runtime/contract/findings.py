"""What a validator answers, and what a validator is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from runtime.agents import StepFunction


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a step breaks the contract, and what to write there instead."""

    code: str
    """What `# aetheris: allow[code]` names, such as `clock`."""
    file: str
    line: int
    reason: str
    replacement: str
    warning: bool = False
    """Worth telling, but no reason to refuse the step."""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    def __str__(self) -> str:
        return f"{self.place}: [{self.code}] {self.reason}. Instead: {self.replacement}."

    def as_json(self) -> dict[str, Any]:
        """For the error of a step that was refused."""
        return {
            "code": self.code,
            "file": self.file,
            "line": self.line,
            "reason": self.reason,
            "replacement": self.replacement,
        }


class StepValidator(Protocol):
    """Looks at a step function without running it. Named by dotted path in `AETHERIS["STEP_VALIDATORS"]`.

    The path may lead to a class without arguments, to an instance, or to a function that makes one.
    """

    def validate(self, step: StepFunction) -> Sequence[Finding]:
        """Everything that is wrong with the step, in the order of the source. Never raises for what it finds."""
        ...
