"""What the outside says of a call: whether it happened, or what became of one that takes its time."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Happened:
    """It did, with this result."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Absent:
    """It did not. `fencing` says that the outside will also refuse it from now on, should it still arrive."""

    fencing: bool = False


@dataclass(frozen=True, slots=True)
class CannotTell:
    """The outside does not know either."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The outside took it, and it ended there without the effect. `retry`: submit it once more, under a new key."""

    message: str
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """The outside took it and will say later how it ended; the step waits and holds nothing.

    `external_id` is the outside's own name for it, of at most 255 characters. `poll_after`: ask the tool's `poll`
    then. `callback`: the outside tells by itself, so ask only when `timeout` is over. After `timeout`, counted from
    the first such answer, it is not known what became of it.
    """

    external_id: str = ""
    poll_after: timedelta | None = None
    callback: bool = False
    timeout: timedelta | None = None

    def __post_init__(self) -> None:
        if len(self.external_id) > 255:
            raise ValueError("Pending.external_id must be a text of at most 255 characters")
        for name in ("poll_after", "timeout"):
            if not isinstance(getattr(self, name), timedelta | None):
                raise TypeError(
                    f"Pending.{name} must be a timedelta, not {type(getattr(self, name)).__name__}"
                )


Verdict = Happened | Absent | CannotTell | Pending | Failed
"""What `verify` answers."""

News = Happened | Pending | Failed
"""What `poll` answers."""
