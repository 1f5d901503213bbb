"""What a verification found: how much was looked at, and the first thing that is not as it was recorded."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from runtime.exceptions import AetherisError

LONGEST = 500


@dataclass(frozen=True)
class Divergence:
    """The first place where a step that ran again did something else.

    `what` is effect, result, branch, error, wait, plan, ending, contract, time or subjob. `event` is the number of
    the event that recorded how the attempt ended.
    """

    job: UUID
    step: str
    attempt: int
    event: int
    what: str
    expected: str
    got: str

    def __str__(self) -> str:
        return (
            f"step {self.step!r}, attempt {self.attempt} (event {self.event}): its {self.what} was "
            f"{self.expected}, and is now {self.got}"
        )


class Diverged(AetherisError):
    """Ends the run of a step, whether or not the step catches it."""

    def __init__(self, what: str, expected: str, got: str) -> None:
        super().__init__(f"The {what} was {expected}, and is now {got}.")
        self.what, self.expected, self.got = what, cut(expected), cut(got)


class LeftOut(AetherisError):
    """An attempt that cannot be run again; `reason` is one word."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Withheld(LeftOut):
    """A payload that a step needs was erased."""

    def __init__(self, seq: int, name: str) -> None:
        super().__init__(f"Part {name!r} of event {seq} is withheld.", "withheld")


@dataclass
class Verification:
    """What `verify` answers. Good if the chain holds and nothing diverged, here and in the subjobs."""

    job: UUID
    events: int
    faults: list[dict[str, Any]] = field(default_factory=list)
    """What is broken in the chain: `event`, `code` and `message`. Where there is one, nothing was run."""
    attempts: int = 0
    """Run again."""
    effects: int = 0
    """Calls and values that were injected."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Attempts that were not run again, by reason."""
    divergence: Divergence | None = None
    subjobs: list[Verification] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.faults and self.divergence is None and all(child.is_good for child in self.subjobs)

    @property
    def first_divergence(self) -> Divergence | None:
        told = (child.first_divergence for child in self.subjobs)
        return self.divergence or next(filter(None, told), None)

    def as_json(self) -> dict[str, Any]:
        found = self.divergence
        return {
            "job": str(self.job),
            "good": self.is_good,
            "events": self.events,
            "faults": self.faults,
            "attempts": self.attempts,
            "effects": self.effects,
            "left_out": dict(self.left_out),
            "divergence": {**asdict(found), "job": str(found.job)} if found else None,
            "subjobs": [child.as_json() for child in self.subjobs],
        }


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"
