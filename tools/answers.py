"""What a verify hook answers when it is asked whether a call happened."""

from dataclasses import dataclass
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


Verdict = Happened | Absent | CannotTell
