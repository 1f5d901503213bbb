"""What undoes a call that happened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Compensation:
    """Another tool by its name, and its inputs: JSON in which `${arguments.…}` and `${result.…}` are those of the
    call that is undone, and `${input.…}` is the job's input. It is recorded with each call.
    """

    tool: str
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"tool": self.tool, "inputs": dict(self.inputs)}
